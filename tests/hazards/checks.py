"""All seeded checks by name: `H2`, or `H7 damage` where a row of hazards has more than one."""

from __future__ import annotations

import importlib
from typing import Final, NamedTuple

from tests.hazards.fold import Seeded, faults_of


class Check(NamedTuple):
    """A seeded check of a hazard: `module` in this folder, the function in it, and the test that runs it in the suite.

    `share` of the seeds that a table is asked for: those that need a real engine cost half a second each.
    """

    hazard: str
    module: str
    function: str
    test: str
    share: float = 1.0

    @property
    def seeded(self) -> Seeded:
        """The check itself."""
        found: Seeded = getattr(importlib.import_module(f"tests.hazards.{self.module}"), self.function)
        return found

    def faults(self, seed: int) -> list[str]:
        """What it finds at a seed."""
        return faults_of(self.seeded, seed)


CHECKS: Final[dict[str, Check]] = {
    "H1": Check("H1", "test_h01_stale_batch_after_reassignment", "seeded", "test_h01_nothing_crosses_an_assignment"),
    "H1 delivery": Check("H1", "test_h01_delivery_epochs", "seeded", "test_h01_delivery_hands_nothing_over_an_assignment"),
    "H2": Check("H2", "test_h02_restart_with_another_clock", "seeded", "test_h02_a_restart_with_another_clock_and_configuration_changes_nothing"),
    "H3": Check("H3", "test_h03_down_longer_than_the_horizon", "seeded", "test_h03_a_backlog_older_than_the_horizon_counts"),
    "H4": Check("H4", "test_h04_refused_once_counted_later", "seeded", "test_h04_what_is_refused_once_is_refused_for_ever"),
    "H5": Check("H5", "test_h05_edges_learned_late", "seeded", "test_h05_edges_learned_late_neither_double_nor_lose_an_event"),
    "H6": Check("H6", "test_h06_rerouted_but_never_home", "seeded", "test_h06_every_rerouted_event_reaches_its_home"),
    "H6 outbox": Check("H6", "test_h06_unacknowledged_sends", "seeded", "test_h06_a_send_returns_when_every_copy_is_written"),
    "H7": Check("H7", "test_h07_changelog_lost_records", "seeded", "test_h07_lost_state_is_read_again_or_halts"),
    "H7 damage": Check("H7", "test_h07_changelog_lost_records", "seeded_damage", "test_h07_a_damaged_changelog_is_exact_or_halts"),
    "H7 base": Check("H7", "test_h07_changelog_lost_records", "seeded_base", "test_h07_a_recovery_that_was_interrupted_is_no_base"),
    "H7 kept": Check("H7", "test_h07_kept_states", "seeded", "test_h07_a_kept_state_is_what_its_changelog_makes"),
    "H7 topics": Check("H7", "test_h07_careless_topics", "seeded", "test_h07_careless_topics_are_said_at_start"),
    "H8": Check("H8", "test_h08_retention_overtakes", "seeded", "test_h08_what_retention_took_uncounted_halts_with_the_range"),
    "H8 reset": Check("H8", "test_h08_retention_overtakes", "seeded_reset", "test_h08_no_consumer_resets_itself"),
    "H9": Check("H9", "test_h09_aborted_transactions", "seeded", "test_h09_aborted_usage_is_not_billed"),
    "H10": Check("H10", "test_h10_another_log", "seeded", "test_h10_another_log_halts_and_counts_once_when_adopted"),
    "H10 archive": Check("H10", "test_h10_archive_of_another_log", "seeded", "test_h10_the_archive_goes_on_only_in_its_own_log"),
    "H11": Check("H11", "test_h11_two_writers", "seeded", "test_h11_two_writers_of_one_changelog_lose_nothing"),
    "H12": Check("H12", "test_h12_ids_outlive_the_promise", "seeded", "test_h12_copies_within_dedup_count_once"),
    "H13": Check("H13", "test_h13_windows_never_begin_anew", "seeded", "test_h13_no_revision_has_fewer_events_than_the_one_before"),
    "H14": Check("H14", "test_h14_exact_sums", "seeded", "test_h14_sums_are_those_of_fractions_whatever_the_batches"),
    "H15": Check("H15", "test_h15_seek_back", "seeded", "test_h15_records_that_come_again_change_nothing"),
    "H15 fetch": Check("H15", "test_h15_position_moved", "seeded", "test_h15_a_position_that_somebody_moved_ends_the_worker"),
    "H16": Check("H16", "test_h16_rerouted_late", "seeded", "test_h16_a_rerouted_event_lands_where_it_would_have"),
    "H17": Check("H17", "test_h17_hostile_names", "seeded", "test_h17_no_two_names_share_a_key"),
    "H18": Check("H18", "test_h18_two_meters_one_event", "seeded", "test_h18_an_event_is_accepted_whole_or_rejected_whole"),
    "H19": Check("H19", "test_h19_last_record_is_a_marker", "seeded", "test_h19_windows_close_behind_a_trailing_marker"),
    "H19 backlog": Check("H19", "test_h19_last_record_is_a_marker", "seeded_backlog", "test_h19_a_backlog_never_closes_a_window_early"),
    "H20": Check("H20", "test_h20_bodies_and_hashes", "seeded", "test_h20_what_is_emitted_again_is_the_same_and_its_hash_is_a_recount"),
    "H22": Check("H22", "test_h22_late_request", "seeded", "test_h22_a_request_that_lands_late_changes_nothing"),
    "H22 storm": Check("H22", "test_h22_late_request", "seeded_storm", "test_h22_storms_of_hanging_requests_end_exact"),
    "H22 socket": Check("H22", "test_h22_clock_at_the_socket", "seeded", "test_h22_nothing_is_sent_a_minute_after_its_intent"),
    "H22 doubt": Check("H22", "test_h22_doubt_after_a_day", "seeded", "test_h22_a_day_without_answers_ends_exact"),
    "H23": Check("H23", "test_h23_crash_at_every_await", "seeded", "test_h23_a_crash_at_any_await_loses_nothing"),
    "H23 log": Check("H23", "test_h23_receipts_of_a_paused_worker", "seeded", "test_h23_a_paused_worker_writes_no_receipt"),
    "H23 driver": Check("H23", "test_h23_driver_of_a_partition", "seeded", "test_h23_no_total_is_lost_between_log_and_receipts"),
    "H24": Check("H24", "test_h24_same_key_other_bytes", "seeded", "test_h24_a_saved_failure_is_passed_by_a_new_attempt"),
    "H24 event": Check("H24", "test_h24_same_event_next_attempt", "seeded", "test_h24_the_next_attempt_is_the_same_event"),
    "H24 storm": Check("H24", "test_h24_same_event_next_attempt", "seeded_storm", "test_h24_storms_leave_every_meter_exact"),
    "H25": Check("H25", "test_h25_cells_of_an_hour", "seeded", "test_h25_an_hour_holds_the_sum_of_its_windows_and_of_one_owner"),
    "H26": Check("H26", "test_h26_fractions_and_late_corrections", "seeded", "test_h26_no_unit_is_lost_or_made_up_by_fractions"),
    "H27": Check("H27", "test_h27_two_report_workers", "seeded", "test_h27_two_workers_deliver_one_customer_once"),
    "H27 places": Check("H27", "test_h27_two_report_workers", "seeded_places", "test_h27_all_of_a_customer_lies_on_its_home"),
    "H28": Check("H28", "test_h28_after_the_invoice_is_final", "seeded", "test_h28_what_comes_after_the_invoice_is_an_adjustment"),
    "H28 elsewhere": Check("H28", "test_h28_billed_elsewhere", "seeded", "test_h28_what_is_billed_elsewhere_is_billed_once", 0.5),
    "H29": Check("H29", "test_h29_accepted_and_not_counted", "seeded", "test_h29_what_is_accepted_and_does_not_count_is_refused"),
    "H30": Check("H30", "test_h30_same_second", "seeded", "test_h30_cells_that_share_a_second_hold_the_sum"),
    "H31": Check("H31", "test_h31_prices_that_bill_wrongly", "seeded", "test_h31_every_price_that_bills_wrongly_is_named"),
    "H31 shared": Check("H31", "test_h31_prices_that_bill_wrongly", "seeded_customers", "test_h31_items_that_share_are_named"),
    "H32": Check("H32", "test_h32_plan_changes_are_billed", "seeded", "test_h32_what_is_billed_and_listed_over_a_change_is_what_was_used", 0.5),
    "H33": Check("H33", "test_h33_doubled_records", "seeded", "test_h33_a_kill_at_any_insert_loses_and_doubles_nothing"),
    "H33 moves": Check("H33", "test_h33_doubled_records", "seeded_moves", "test_h33_a_partition_that_moves_is_archived_once"),
    "H33 views": Check("H33", "test_h33_doubled_records", "seeded_views", "test_h33_views_of_doubled_records_are_the_model", 0.1),
    "H33 resume": Check("H33", "test_h33_doubled_records", "seeded_resume", "test_h33_rows_without_progress_are_found_and_skipped"),
    "H33 postings": Check("H33", "test_h33_doubled_records", "seeded_postings", "test_h33_raw_postings_are_the_meters"),
    "H33 rows": Check("H33", "test_h33_doubled_records", "seeded_rows", "test_h33_an_insert_is_believed_by_its_rows"),
    "H34": Check("H34", "test_h34_nothing_past_the_mark", "seeded", "test_h34_a_mark_is_written_after_all_verdicts_below_it"),
    "H34 views": Check("H34", "test_h34_nothing_past_the_mark", "seeded_views", "test_h34_views_show_nothing_past_the_mark", 0.1),
    "H34 retention": Check("H34", "test_h34_nothing_past_the_mark", "seeded_retention", "test_h34_events_whose_verdicts_are_gone_are_not_shown"),
    "H35": Check("H35", "test_h35_wide_enough", "seeded", "test_h35_offsets_and_revisions_are_64_bits_wide", 0.1),
    "H36": Check("H36", "test_h36_loopback_only", "seeded", "test_h36_workers_listen_on_loopback_only"),
    "H37": Check("H37", "test_h37_suspended_worker", "seeded", "test_h37_a_worker_that_gets_nothing_done_is_killed_and_started_again"),
    "H37 waiting": Check("H37", "test_h37_suspended_worker", "seeded_waiting", "test_h37_a_consumer_that_waits_for_room_is_alive"),
    "H38": Check("H38", "test_h38_amended_once", "seeded", "test_h38_an_amendment_acts_once_and_only_where_it_can"),
    "H39": Check("H39", "test_h39_restored_from_the_archive", "seeded", "test_h39_a_lost_kafka_is_built_again_as_it_was"),
    "H39 damage": Check("H39", "test_h39_restored_from_the_archive", "seeded_damage", "test_h39_an_archive_that_lacks_something_is_no_base"),
    "H40": Check("H40", "test_h40_restated_once", "seeded", "test_h40_what_was_found_at_the_provider_is_put_right_once"),
}
"""In the order of the list of hazards."""
