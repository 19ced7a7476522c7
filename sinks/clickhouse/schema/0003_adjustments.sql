-- The view of 0002 once more, with adjustments (law 16): a final cell's window is parked until its adjustment is settled.

-- Every window that the archive knows of, in exactly one state:
--   open         holds counted events that no revision covers yet, and was never emitted
--   reopened     was emitted, and holds newer counted events
--   undelivered  its newest revision has no definite answer yet
--   delivered    the provider holds its newest revision, or what it lacks of it was settled
--   parked       its newest revision waits for a person (refused, unknown, fraction, before its period, an open adjustment …): see reason
--   unbound      nobody is told to bill it
-- counted is what the raw events sum up to, emitted and delivered what the newest revision and the provider hold.
CREATE OR REPLACE VIEW coverage AS
SELECT customer, meter, window_start, window_end,
       multiIf(newest_event > emitted_revision AND emitted_revision = (0, 0), 'open',
               newest_event > emitted_revision, 'reopened',
               answered_revision < emitted_revision, 'undelivered',
               state IN ('delivered', 'confirmed'), 'delivered',
               state = 'unbound', 'unbound',
               state IN ('refused', 'unknown', 'parked'), 'parked',
               'undelivered') AS state,
       reason, counted, counted_events, emitted, emitted_events, delivered, counted - emitted AS not_emitted, emitted - delivered AS not_delivered
FROM
(
    SELECT customer, meter, window_start, window_end,
           sum(q_counted) AS counted, sum(n_counted) AS counted_events, max(r_counted) AS newest_event,
           argMax(q_emitted, r_emitted) AS emitted, argMax(n_emitted, r_emitted) AS emitted_events, max(r_emitted) AS emitted_revision,
           max(r_answered.1) AS answered_revision, argMax(s_answered, r_answered) AS state, argMax(why, r_answered) AS reason,
           argMax(q_delivered, r_delivered) AS delivered
    FROM
    (
        SELECT customer, meter, window_start, window_end, toDecimal256(quantity, 12) AS q_counted, toUInt64(1) AS n_counted,
               (toUInt64(generation), kafka_offset + 1) AS r_counted,
               toDecimal256(0, 12) AS q_emitted, toUInt64(0) AS n_emitted, (toUInt64(0), toUInt64(0)) AS r_emitted,
               ((toUInt64(0), toUInt64(0)), toUInt64(0)) AS r_answered, '' AS s_answered, '' AS why,
               toDecimal256(0, 12) AS q_delivered, ((toUInt64(0), toUInt64(0)), toUInt64(0)) AS r_delivered
        FROM usage_events WHERE verdict = 'counted'
        UNION ALL
        SELECT customer, meter, window_start, window_end, toDecimal256(0, 12), toUInt64(0), (toUInt64(0), toUInt64(0)),
               quantity, events, (generation, through_offset + 1),
               ((toUInt64(0), toUInt64(0)), toUInt64(0)), '', '', toDecimal256(0, 12), ((toUInt64(0), toUInt64(0)), toUInt64(0))
        FROM window_totals
        UNION ALL
        SELECT customer, meter, window_start, window_end, toDecimal256(0, 12), toUInt64(0), (toUInt64(0), toUInt64(0)),
               toDecimal256(0, 12), toUInt64(0), (toUInt64(0), toUInt64(0)),
               ((generation, through_offset + 1), if(state = 'bound', toUInt64(0), log_offset + 1)),
               multiIf(kind = 'window' AND reason = 'unbound', 'unbound', state = 'adjustment', if(outcome = 'settled', 'delivered', 'parked'), state),
               reason,
               if(state IN ('delivered', 'confirmed'), window_quantity, toDecimal256(0, 12)),
               if(state IN ('delivered', 'confirmed'), ((generation, through_offset + 1), log_offset + 1),
                  ((toUInt64(0), toUInt64(0)), toUInt64(0)))
        FROM deliveries
    )
    GROUP BY customer, meter, window_start, window_end
);
