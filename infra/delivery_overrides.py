"""What of Faust, mode and aiokafka delivery replaces or leans on, pinned by the hash of its source.

After an upgrade `tests/house/test_overrides.py` names what changed. Read the new source, see that delivery still holds
(its tests are `tests/agents/test_delivery_*.py`), and only then write the new hash here.
"""

from __future__ import annotations

APP = "faust.app.base"
CONSUMER = "faust.transport.consumer"
DRIVER = "faust.transport.drivers.aiokafka"
RECOVERY = "faust.tables.recovery"
QUEUES = "mode.utils.queues"
SERVICES = "mode.services"
SUPERVISORS = "mode.supervisors"
KAFKA_CONSUMER = "aiokafka.consumer.consumer"
FETCHER = "aiokafka.consumer.fetcher"
COORDINATOR = "aiokafka.consumer.group_coordinator"
SUBSCRIPTION = "aiokafka.consumer.subscription_state"

OVERRIDES: dict[str, str] = {
    # replaced by infra/kafka_io.py
    "aiokafka.admin.client.AIOKafkaAdminClient._send_request": "1ed126f126dd917a2b23d8ca06f2bd955697f7137bcd6a0cba75efe280f9b49d",
    # replaced by delivery
    f"{APP}.App._stop_consumer": "55854a5de12c3f5296b4acf16ddfe359be0b702d0cd7686bcab541847c396077",
    f"{APP}.App._new_transport": "42db531312dd776fc3937154a32f19eeb9ad7d4ebc2722a92d081a2d271baea1",
    f"{APP}.App._new_producer_transport": "eb3b4aa6a89612750b7e3159e5339850dd816fbf15a78948ef204bc2c0ec3a6b",
    f"{CONSUMER}.Consumer.perform_seek": "0e8c130ff4b0afd82c0be9c5fd831316e10febc62c94032833911096e156d7c6",
    f"{CONSUMER}.Consumer.resume_flow": "db59630f25b5819b092c90649e1046cbea184e91a0aff59368e7747665536dd5",
    f"{CONSUMER}.Consumer.on_partitions_revoked": "d04b7ae72c6fc206924a2879d6c90dd383f3e8ba6f4b10a19ca99a921eb8f4db",
    f"{CONSUMER}.Consumer._drain_messages": "44a2500309e83c630493f6828af50166ec8d96a0b3e4fb2bab735f704ae93417",
    f"{CONSUMER}.Consumer._new_offset": "1d2c7ea89a7ad4f1a216c1d51936e569162cd66bd56f889e13fd29c910b58eb0",
    f"{CONSUMER}.Consumer._filter_tps_with_pending_acks": "f6f9239774234e7e230eee7c40c686421a66302be95e59c59a9109c2bba5fbd6",
    f"{CONSUMER}.ThreadDelegateConsumer._commit": "a20eec84e4b2ed5072f6c6ab7707ac03d69e2255d67f115c31f8dc9cc246dc66",
    f"{CONSUMER}.ThreadDelegateConsumer.seek_wait": "e9db5bbc4ceb2543830e020a97ba36d762de5affe579278f933d20bc42af9b9b",
    f"{DRIVER}.Consumer._new_consumer_thread": "0870ec53dea75083995e3565c0f0a25a1c63ecceaeb238e92e2585e3623af5a9",
    f"{DRIVER}.Consumer.verify_event_path": "a17e8f0610e1abcb03ac2a94f6fae3371ec988543b6fae4d889129d362c65f7a",
    f"{DRIVER}.AIOKafkaConsumerThread.__post_init__": "913dc7c0d9578e2da75bba148929a34034746da74726fbd1b550d5a736a69338",
    f"{DRIVER}.AIOKafkaConsumerThread._create_worker_consumer": "c2701bfc3e6f6cad95c2be36d6a255a86e2c57d18d36cc1082b5fb5c482d99d7",
    f"{DRIVER}.AIOKafkaConsumerThread.highwater": "6f7dbe109ae6807f500a1343eefb23f39e856ee62eaad5d09f145f49f838c4ab",
    f"{DRIVER}.Producer._settings_extra": "a4c7bc41b63822236e4c9be1c49437d091f58c1b3a983eecabb7362a819aa8bd",
    f"{DRIVER}.AIOKafkaConsumerThread._seek_wait": "9d221e816d9404678ac2d802b1419c7c2d166cbc9c8ec9f689a77673b8f2e85f",
    # replaced by the meter's table (streams/table.py)
    "faust.tables.base.Collection._new_store_by_url": "343a8125107d3f69ced468ee156659955d31abbc3bbed3df0e6ac87b474f850b",
    "faust.stores.memory.Store.persisted_offset": "fbba5c654497938828d8672f6424cf21883191422fa369a7172fbe6a5309aabf",
    "faust.stores.memory.Store.apply_changelog_batch": "71863e3cd727aac2001c4f19a393c637275eab36056c9a2d395ed1c7528e7647",
    "faust.stores.memory.Store.on_recovery_completed": "a00bef343e139602606996e88809e62731a9113691ae678095266a52e0e0b013",
    "faust.stores.base.Store.on_rebalance": "a32fbe3c18de4288cda6a45d161fead88e838448760b178083e0cd0bf3c04495",
    # relied upon, in Faust
    "faust.tables.recovery.Recovery._add": "1584a197b11bf835c0e3c497952413ce5a5f13078fdd88a9dcfd60ea1e125fa6",
    "faust.tables.recovery.Recovery.on_rebalance": "aa4d997a1795ceae3880f98311b46935d9ae1a183a699b9a283bb4306bc8641f",
    f"{APP}.App._on_partitions_revoked": "d5c895bbe57dc73ae4d7f762f6fdc9fdd3abd02f9e05863ccfd8034082e5682f",
    f"{APP}.App._on_partitions_assigned": "de932b7927db85b3d5e88971c3c7d2d75c0c7af8111a2ca08d4097bd9f8d2552",
    f"{CONSUMER}.Consumer.stop_flow": "cf7e875a2b0d40e8e45df69720709199c47b710c983cf79371cce3a58888a6ac",
    f"{CONSUMER}.Consumer._get_active_partitions": "b24897f3c7afdb5d02e5741d1a3d3c2bacf595802ed204231544cd7fde4e7eab",
    f"{CONSUMER}.Consumer.commit": "a354437baaa08bf8096d978ca195963e22f7a497d18392960dd53dacb7c9f2d8",
    f"{CONSUMER}.Consumer.maybe_wait_for_commit_to_finish": "d687f63a0b5ef0c5f328af85dd3e2196e6291fb166bc9ad693e69559a942a8b5",
    f"{CONSUMER}.Consumer._commit_tps": "a20e230b05ae8b151ac9f78fa77a102003a948c66c24c9d3588e39cb12859b7e",
    f"{CONSUMER}.Consumer._commit_offsets": "1a6979904118844111259d182ca1c6e92ccc16364ccbe55c58e59d6e254a7adb",
    f"{CONSUMER}.Consumer._should_commit": "5ce941793947ad42b5c4298765d32f8fcbb8dd74b4385a50ab4b466fb651781c",
    f"{CONSUMER}.Fetcher._fetcher": "68f894f0b577d8100419d6288088177609415aec9fc0ae82aec70b961a2e59b1",
    f"{DRIVER}.Consumer._to_message": "7c24f6511b2fcef7cbfe73526e78de033bfe0df211f1fd30509d699c9deb6ce4",
    f"{DRIVER}.AIOKafkaConsumerThread._highwaters": "a7f4f97d9f32aca2777713e22671d70eae4b3ae51541bb09a90448ce83acefce",
    f"{DRIVER}.Producer._new_producer": "e72355c3430ed02f5202c83e2f5ef7daf484f33aa40e62f98fe3adec3e18aa17",
    f"{DRIVER}.ConsumerRebalanceListener.on_partitions_revoked": "348c3aec879faf808e3ce86802ad8735385c4050479348487d25ba335af3d8dc",
    f"{RECOVERY}.Recovery._restart_recovery": "6bd8a8558a2dffe4c60b8150f23d721baa6b3d658367f911a3ad2187e20efc6f",
    f"{RECOVERY}.Recovery._resume_streams": "d986a6710c1aca98f08c4c723fb3eadc5bf24576ad4eb9da3dd3eecedda2f24e",
    f"{RECOVERY}.Recovery.on_recovery_completed": "6ef567acf072e46da3fccbccc6d662371f634f622c3d510972d5df81f70ae3ac",
    f"{RECOVERY}.Recovery._slurp_changelogs": "7825c7e50f766d5ab0fd246b63420ea0dfcd732d005f1057cc9da656ff5d3967",
    f"{RECOVERY}.Recovery._build_highwaters": "91b4cc0d3724ae7bfc398e873684fc6f667ef8feb61a3b3314346ef11f2823de",
    f"{RECOVERY}.Recovery._build_offsets": "27eec86be06cb51f66dfd2572be2f9b41acd22c3570239bb5c554bd94e59a1d6",
    f"{RECOVERY}.Recovery._seek_offsets": "19598ca63d94d250e49d2dfe48a3c48ecbdf65ee4f1a2871abda51d28b335e55",
    f"{RECOVERY}.Recovery.need_recovery": "fd1dc345b5d5e12113adc510d40bc3d6594b2a9fb13e93f0fa8b761f5dd98600",
    f"{QUEUES}.FlowControlEvent.resume": "4dcdc1253fd0dcb40de18a3702503c01d21e9da7e5e55b122fb92615f27648d9",
    f"{QUEUES}.ThrowableQueue.clear": "d18f09e451acf62e1cfa4e957497403d287463595b2dff70ea1c7a1271a95036",
    f"{SERVICES}.Service.crash": "14980000465df0af99151e86fbee0a4dc9c7413017762e09d7a76eabc34a8b2b",
    f"{SUPERVISORS}.CrashingSupervisor.wakeup": "4200e8caee844e5a0cb4ddf1bcbb7dd490674ad532e58363b1b769e3c0904f15",
    # relied upon, in aiokafka
    f"{KAFKA_CONSUMER}.AIOKafkaConsumer.start": "2f1ba70443327538800d348e61042cdedd5a5e6306f40ebe1a06dddba7494c45",
    f"{KAFKA_CONSUMER}.AIOKafkaConsumer.commit": "79b057d88220e5a24d241b8677689bf4e3bb57fc42c8f80dde0dca5dfbac5578",
    f"{KAFKA_CONSUMER}.AIOKafkaConsumer.seek": "a9430f1f3b9ac4194dfccc7b61d3aa32f89ed3d1b065e78c72eec34380e4f9ca",
    f"{FETCHER}.Fetcher.fetched_records": "be4348896b9b66afe048de954e2be91c546f4e96c94cb120d5764ec77ce8f19e",
    f"{FETCHER}.Fetcher._create_fetch_waiter": "61d840568746477e0792665e11a1217f16d2595fe31f20e6282162677650ceca",
    f"{FETCHER}.Fetcher.seek_to": "f0ba6aba6c22ef83e0d58690ef771d04777032ec48cbfa68325c67bf0ef508f4",
    f"{FETCHER}.Fetcher._update_fetch_positions": "d7774d8241dc6a7e04ce2172518adfa952a905b739590bda01baba207604a686",
    f"{FETCHER}.Fetcher._proc_fetch_request": "59bf948fff47eed580671971252454daa614df479733f3bedfefe95bc4d8ad30",
    f"{FETCHER}.Fetcher._proc_offset_request": "40c09472da94d88c35bdbd30c44cc3a09cfe5f5fb7cfd3d336013a015e77b91d",
    f"{FETCHER}.FetchResult.getall": "3e717e30de5068d549dd41b231928c67a24e832a928d48bac5f485e448daa903",
    f"{FETCHER}.FetchResult.check_assignment": "b5340df67e3f330f998e01e49adc7fd03dae24b8a0e201ae4325d3f980d3eae3",
    f"{FETCHER}.PartitionRecords._consumer_record": "e668541600b047ab928a9008b54c00951d9ae7e2a11b82e7b00f3a5d71b0cc0c",
    f"{FETCHER}.PartitionRecords.__init__": "8ec1c2ae6ea1af875db73e6d01604f3edf269faf5806c67c02d1f91b456d3571",
    f"{FETCHER}.PartitionRecords._consume_aborted_up_to": "56876530cd6412f3e3c5cd5888418fdf3bb2e648fe0e69936b45611e88dd040d",
    f"{FETCHER}.PartitionRecords._contains_abort_marker": "17e9ad2322ef4e0a5719f67edff8f4e94807b144966ad9d09e37117f27c9e6ad",
    f"{FETCHER}.PartitionRecords._unpack_records": "b803e6d46480732c7a7faa8e784b338bcdd4e707ea67fba96c013654b04b8a08",
    "aiokafka.record.memory_records._MemoryRecordsPy._cache_next": "7bb73a2eabca4ee331b5dd1ad14aa31102296314504dc3a8e8759047f7357409",
    "aiokafka.record.memory_records._MemoryRecordsPy.next_batch": "f1779ecb6d0d344c4c55dd8ce73cc606341fd63aa99e1d1755fcd71bc4af9394",
    "aiokafka.record.default_records._DefaultRecordBatchPy.validate_crc": "d29d51d221b527b1da04123afbf765bd5aa01b92904c51f6a9d85b2909f89a53",
    "aiokafka.record.default_records._DefaultRecordBatchPy._maybe_uncompress": "c9d0dc2bed50cc869d2dad835d60674244b4981082a86c1c1c5d82a6bef7c92c",
    "aiokafka.record.default_records._DefaultRecordBatchPy._read_msg": "0997ab7a58505c939c31b1cf5809aff4ac6de70f713794d3c62bd049a3270a4a",
    "aiokafka.conn.AIOKafkaConnection.connect": "b0f9ba7f0cf6b432c387480060970d41ba1a9df9883064efbbb33fbdb4366b81",
    "aiokafka.conn.AIOKafkaConnection._read": "7b892995c0b81468a8c5dded75ad79194a9561e96b8b88244004470bf995456e",
    "aiokafka.conn.AIOKafkaConnection._handle_frame": "46a7d9b8cf7ca22206ca8d7ae16b41a5e6b55958abcf83368b006b1af10b18c3",
    f"{COORDINATOR}.GroupCoordinator.check_errors": "ba6ca51ad34838d9dde053bcd0c7185507c2e1cd5733451272ce700086aeb702",
    f"{COORDINATOR}.GroupCoordinator.ensure_active_group": "33c84c1a93012e812cb3d1a6774ded1889f917a4ed4a56f9cf310f984e6fa596",
    f"{COORDINATOR}.GroupCoordinator.commit_offsets": "5cbe31af28d6cc0605adc86b60bcfa3b00d720f8f60107893603ded24166fc35",
    f"{COORDINATOR}.GroupCoordinator._on_join_prepare": "4d9524afc0ee2c2fd54cd8397e4fc216f240330258daeceaf5f2888c2de0d134",
    f"{SUBSCRIPTION}.SubscriptionState.fetch_context": "ff2a654dca239cfe94851b3a9bec9c71cfb3eeaa0e7073ab7bd6ed13c1eee597",
    f"{SUBSCRIPTION}.SubscriptionState.fetcher_idle_time": "45289bef04d7a4e394f0e2d58b2f4e8404176f206dcbf01143b4a3a26b09407e",
    f"{SUBSCRIPTION}.SubscriptionState.reassignment_in_progress": "6876e75ff981ea26613e6beb6ec0a9031176a381edfb2fe849ae8aa27f262201",
    f"{SUBSCRIPTION}.TopicPartitionState.consumed_to": "c7b8f0f99ce9185e922d95b730adddb288d4fc83e55a2096aa95a42e88fb4ff4",
}
"""Dotted name → SHA-256 of `inspect.getsource`."""
