import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Contestant: Kafka Streams' windowed sum as its documentation shows it: exactly_once_v2, one thread, a RocksDB window store with its changelog.
 * Windows of a minute by the event's own time, open for a day, so that a late event counts as it does in Tidemark. It remembers no ids.
 *
 * It is given what makes it quicker: one pass of Jackson's streaming parser that leaves at the last field wanted, a time parser that makes no
 * objects, commits every 500 ms instead of the 100 ms that exactly_once_v2 has as default, larger fetches, a write cache of 64 MB.
 */
public final class WindowedSum {
    static final int METERS = Integer.parseInt(System.getenv().getOrDefault("BENCH_METERS", "1"));
    static final JsonFactory JSON = new JsonFactory();

    /** What the sum needs of an event; `n` is -1 in a record that is none (the meters record that Tidemark needs). */
    static final class Usage {
        long timeMs = -1;
        long n = -1;
        long m;
        long k;

        long value(int meter) {
            return meter == 0 ? n : meter == 1 ? m : k;
        }
    }

    static final class UsageDeserializer implements Deserializer<Usage> {
        @Override
        public Usage deserialize(String topic, byte[] bytes) {
            Usage usage = new Usage();
            try (JsonParser parser = JSON.createParser(bytes)) {
                parser.nextToken();
                boolean isUse = false;
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String field = parser.currentName();
                    JsonToken token = parser.nextToken();
                    if (field.equals("type")) {
                        isUse = parser.getText().equals("use");
                        if (!isUse) {
                            return usage;
                        }
                    } else if (field.equals("time")) {
                        usage.timeMs = millis(parser.getTextCharacters(), parser.getTextOffset());
                    } else if (field.equals("data") && isUse) {
                        quantities(parser, usage);
                        return usage;
                    } else if (token.isStructStart()) {
                        parser.skipChildren();
                    }
                }
            } catch (IOException error) {
                throw new IllegalArgumentException(error);
            }
            return usage;
        }

        static void quantities(JsonParser parser, Usage usage) throws IOException {
            for (int found = 0; found < METERS && parser.nextToken() == JsonToken.FIELD_NAME; found++) {
                String name = parser.currentName();
                parser.nextToken();
                long value = parser.getLongValue();
                if (name.equals("n")) {
                    usage.n = value;
                } else if (name.equals("m")) {
                    usage.m = value;
                } else {
                    usage.k = value;
                }
            }
        }

        /** yyyy-MM-ddTHH:mm:ss.SSSZ as milliseconds since 1970. */
        static long millis(char[] text, int at) {
            long year = digits(text, at, 4);
            long month = digits(text, at + 5, 2);
            long day = digits(text, at + 8, 2);
            long shifted = month > 2 ? year : year - 1;
            long dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
            long yearOfEra = shifted % 400;
            long days = shifted / 400 * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468;
            long seconds = days * 86400 + digits(text, at + 11, 2) * 3600 + digits(text, at + 14, 2) * 60 + digits(text, at + 17, 2);
            return seconds * 1000 + digits(text, at + 20, 3);
        }

        static long digits(char[] text, int at, int count) {
            long value = 0;
            for (int index = at; index < at + count; index++) {
                value = value * 10 + text[index] - '0';
            }
            return value;
        }
    }

    static long timeOf(ConsumerRecord<Object, Object> record, long partitionTime) {
        long timeMs = ((Usage) record.value()).timeMs;
        return timeMs < 0 ? record.timestamp() : timeMs;
    }

    static Properties properties() {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("BENCH_GROUP"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BENCH_BOOTSTRAP"));
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 500);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("BENCH_DIR"));
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        return properties;
    }

    public static void main(String[] arguments) throws InterruptedException {
        StreamsBuilder builder = new StreamsBuilder();
        Consumed<String, Usage> consumed =
                Consumed.with(Serdes.String(), Serdes.serdeFrom((topic, usage) -> { throw new IllegalStateException(); }, new UsageDeserializer()))
                        .withTimestampExtractor(WindowedSum::timeOf);
        KStream<String, Usage> events = builder.stream(System.getenv("BENCH_TOPIC"), consumed).filter((customer, usage) -> usage.n >= 0);
        KGroupedStream<String, Usage> grouped = events.groupByKey(Grouped.keySerde(Serdes.String()));
        TimeWindows minutes = TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofDays(1));
        for (int index = 0; index < METERS; index++) {
            int meter = index;
            grouped.windowedBy(minutes).aggregate(
                    () -> 0L,
                    (customer, usage, sum) -> sum + usage.value(meter),
                    Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("sums-" + meter)
                            .withKeySerde(Serdes.String())
                            .withValueSerde(Serdes.Long()));
        }
        KafkaStreams streams = new KafkaStreams(builder.build(), properties());
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(15));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }
}
