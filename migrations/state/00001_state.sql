-- +goose Up

-- Log, queue and checkpoint.
--
-- People read the views workflow_log, workflow_event, delivery, delivery_done,
-- delivery_attempt, workflow_log_kept, row_history and failing. Only Rowbell writes, to the
-- tables below them. How these are laid out was decided by measurement.
--
--   layout                                     B=100             B=1000         WAL of one
--                                              record  + settled record  + settled  match
--   W  contract's columns as tables, text ids  35.9k   16.5k     42.5k   18.1k    3.8 kB
--   N1 narrow: LSN and surrogates as key,      62.4k    5.2k     86.3k   27.8k    2.0 kB
--      ids computed, status updated
--   A  text ids, execution id = event id and   64.5k    4.4k     73.3k   21.6k    2.0 kB
--      surrogate, status updated
--   B  A, but pending executions in a small    71.9k   36.7k     90.7k   45.1k    1.9 kB
--      table, moved to the log when settled
--   C  B, but an execution with one delivery   87.5k   41.7k    102.7k   49.9k    1.6 kB
--      is pending as its row of the queue
--   D  C, and such a delivery's end is kept    89.7k   47.8k    123.4k   70.0k    1.3 kB
--      in the log row: this one
--
-- Matches per second; one match = one event (300 bytes of JSON), one execution, one
-- delivery, leased to the process that records it; "+ settled" also deletes that from the
-- queue and writes its outcome and the execution's, in batches of the same size. Medians of
-- 3 runs of 40,000 matches, interleaved in random order, one connection and its server
-- (PostgreSQL 15.18, fsync and synchronous_commit on, shared_buffers 2 GB) on 2 cores.
--
-- N1's and A's rates at B=100 are those of a plan that scans the log: settling by UPDATE
-- needs a join, which the planner gets wrong while tables are new; moving rows does not.
-- With deliveries that are claimed first D settles 28k and 41k/s, at 1.6 kB. With data as
-- jsonb B takes 11 us of the server's time to record a match at B=1000, as json 9. Writing
-- to the day's partition by its name gains nothing that shows.
--
-- The table is without these indexes, which cost D: event (row_key) 70 bytes and 0.9 us,
-- execution (left(id, 26)) 95 bytes and 0.5 us. A BRIN bloom filter for the latter costs 35
-- bytes and as much time, and has nothing of what is newest until autovacuum comes by.
--
-- Ids are text under collation "C", so that a filter by id needs no conversion:
--   event      ULID of 26 characters
--   execution  <event id>-<version surrogate>, with -<run> behind for a replay
--   delivery   <execution id>.<action>, with .<recipient> behind for a recipient's share
-- Since an execution's id starts with its event's, both right edges grow with time, and all
-- executions of an event are a range of one index: from <event id>- to <event id>. (the
-- character after '-'). A join to event by that range was tried instead of the index on
-- left(id, 26): the planner reads the whole log for it.

create table rowbell.surrogate (
	ref integer primary key,
	kind text not null check (kind in ('workflow', 'table')),
	id text not null,
	version integer not null,
	tenant_id text,
	name text not null,
	first_applied_at timestamptz not null default clock_timestamp()
);
create index surrogate_id on rowbell.surrogate (id, kind);
create index surrogate_tenant on rowbell.surrogate (tenant_id, kind);
comment on table rowbell.surrogate is 'Every workflow and table version that ever applied, by the number that events and executions name it with. Outlives definitions: nothing is deleted here';
comment on column rowbell.surrogate.ref is 'The number; given out once, ascending';
comment on column rowbell.surrogate.kind is 'workflow or table';
comment on column rowbell.surrogate.id is 'Workflow id, or the table''s label';
comment on column rowbell.surrogate.version is 'Version of the workflow or of the captured table';
comment on column rowbell.surrogate.tenant_id is 'Tenant of the workflow; null for operators'' workflows and for tables';
comment on column rowbell.surrogate.name is 'Name of the workflow at that version, or the table''s label';
comment on column rowbell.surrogate.first_applied_at is 'When the version was first recorded as applied (state server''s clock)';

-- Day partitions of the four tables below are made ahead by rowbell.make_partitions, and
-- named <table>_<yyyymmdd>. The DEFAULT partition takes odd dates, and what retention keeps.

create table rowbell.event (
	committed_at timestamptz not null,
	commit_lsn pg_lsn not null,
	stream integer not null,
	seq integer not null,
	table_ref integer not null,
	side smallint not null,
	op "char" not null,
	event_id text collate "C" not null,
	tenant_id text,
	row_key text collate "C",
	data json not null,
	primary key (event_id, committed_at)
) partition by range (committed_at);
create index event_row_key on rowbell.event (row_key);
comment on table rowbell.event is 'Matched events, once each however many workflows matched. Read the view workflow_event';
comment on column rowbell.event.committed_at is 'Commit time of the change, by the source''s clock; the day decides the partition';
comment on column rowbell.event.commit_lsn is 'Where the transaction''s commit record starts';
comment on column rowbell.event.stream is 'Grows by one when LSNs start anew';
comment on column rowbell.event.seq is 'Counts from 0 in the transaction';
comment on column rowbell.event.table_ref is 'Version of the captured table, in surrogate; 0 for a domain event';
comment on column rowbell.event.side is '0; 1 for the create half of a change of tenant';
comment on column rowbell.event.op is 'c create, u update, d delete, e domain event';
comment on column rowbell.event.event_id is 'ULID of commit time, commit LSN, side and seq: the same at every decode';
comment on column rowbell.event.tenant_id is 'Value of the row''s tenant column';
comment on column rowbell.event.row_key is 'Key column values joined by commas';
comment on column rowbell.event.data is 'What a webhook gets of the row: new, old, changed, unavailable, actor. Hidden columns are absent, redacted ones masked';

create table rowbell.execution (
	committed_at timestamptz not null,
	executed_at timestamptz not null,
	settled_at timestamptz not null,
	version_ref integer not null,
	priority integer not null,
	duration_ms integer,
	action smallint,
	attempts smallint,
	code smallint,
	id text collate "C" not null,
	status text not null check (status in ('success', 'failure', 'cancelled')),
	kind text,
	recipient text,
	error text,
	result jsonb,
	primary key (id, committed_at)
) partition by range (committed_at);
create index execution_event on rowbell.execution (left(id, 26));
create index execution_version on rowbell.execution (version_ref, committed_at);
create index execution_status on rowbell.execution (status, committed_at) where status <> 'success';
create index execution_executed on rowbell.execution using brin (executed_at) with (pages_per_range = 16, autosummarize = on);
comment on table rowbell.execution is 'Settled executions; pending ones are in queue or execution_open. Read the view workflow_log';
comment on column rowbell.execution.committed_at is 'Commit time of the event; the day decides the partition';
comment on column rowbell.execution.executed_at is 'When the execution was recorded (state server''s clock)';
comment on column rowbell.execution.settled_at is 'When its last delivery ended; executed_at where there was none';
comment on column rowbell.execution.version_ref is 'Workflow version, in surrogate';
comment on column rowbell.execution.priority is 'Executions of one event run in this order, lower first';
comment on column rowbell.execution.duration_ms is 'Of the only delivery''s last attempt. This column to recipient: the end of an execution''s only delivery, null if it had none or several (those are in delivery_ended)';
comment on column rowbell.execution.action is 'Index of the only delivery''s action; null: no such delivery';
comment on column rowbell.execution.attempts is 'Attempts of the only delivery';
comment on column rowbell.execution.code is 'Status code that the only delivery''s last attempt got (HTTP, SMTP)';
comment on column rowbell.execution.id is 'Event id, -, version surrogate; with - and the number of the replay behind';
comment on column rowbell.execution.status is 'success, failure or cancelled';
comment on column rowbell.execution.kind is 'Action kind of the only delivery';
comment on column rowbell.execution.recipient is 'Recipient of the only delivery';
comment on column rowbell.execution.error is 'Why it failed or was cancelled';
comment on column rowbell.execution.result is 'What its actions gave back';

create table rowbell.execution_open (
	committed_at timestamptz not null,
	executed_at timestamptz not null,
	version_ref integer not null,
	priority integer not null,
	open integer not null check (open >= 0),
	died boolean not null default false,
	tried boolean not null default false,
	id text collate "C" primary key,
	error text,
	result jsonb
) with (fillfactor = 70);
comment on table rowbell.execution_open is 'Pending executions with several deliveries, until the last one ends. An execution with one delivery is pending as that row of queue';
comment on column rowbell.execution_open.committed_at is 'Commit time of the event';
comment on column rowbell.execution_open.executed_at is 'When the execution was recorded (state server''s clock)';
comment on column rowbell.execution_open.version_ref is 'Workflow version, in surrogate';
comment on column rowbell.execution_open.priority is 'Executions of one event run in this order, lower first';
comment on column rowbell.execution_open.open is 'How many of its deliveries have not ended; at 0 it moves to execution';
comment on column rowbell.execution_open.died is 'A delivery gave up: the execution will be a failure';
comment on column rowbell.execution_open.tried is 'A delivery was tried: the execution will not be cancelled';
comment on column rowbell.execution_open.id is 'As in execution';
comment on column rowbell.execution_open.error is 'Of the first delivery that gave up';
comment on column rowbell.execution_open.result is 'What its actions gave back so far';

-- No index holds a column that a claim or a lease changes, and pages are left half empty, so
-- that these updates are HOT.
create table rowbell.queue (
	committed_at timestamptz not null,
	executed_at timestamptz not null,
	ready_at timestamptz,
	lease_until timestamptz,
	big_lsn pg_lsn,
	big_stream integer,
	version_ref integer not null,
	priority integer not null,
	"order" integer not null,
	action smallint not null,
	attempts smallint not null default 0,
	sole boolean not null,
	addressed boolean not null,
	execution_id text collate "C" not null,
	recipient text collate "C" not null default '',
	kind text not null,
	lease_by text,
	error text,
	address json,
	primary key (execution_id, action, recipient)
) with (fillfactor = 50);
create index queue_ready on rowbell.queue (ready_at);
create index queue_big on rowbell.queue (big_lsn, big_stream) where big_lsn is not null;
comment on table rowbell.queue is 'Unfinished deliveries. Read the view delivery';
comment on column rowbell.queue.committed_at is 'Commit time of the event';
comment on column rowbell.queue.executed_at is 'When the execution was recorded (state server''s clock)';
comment on column rowbell.queue.ready_at is 'When it may be tried; null while a lower order runs, infinity while its transaction is not released (big_lsn)';
comment on column rowbell.queue.lease_until is 'Until when a process has it to itself; null or past: free';
comment on column rowbell.queue.big_lsn is 'Commit LSN of a transaction that is recorded in parts and not yet released (big_transaction); else null';
comment on column rowbell.queue.big_stream is 'Stream of big_lsn';
comment on column rowbell.queue.version_ref is 'Workflow version, in surrogate';
comment on column rowbell.queue.priority is 'Of the execution';
comment on column rowbell.queue."order" is 'Of the action: a higher one waits until lower ones are settled';
comment on column rowbell.queue.action is 'Index in the version''s actions';
comment on column rowbell.queue.attempts is 'Attempts so far';
comment on column rowbell.queue.sole is 'The execution''s only delivery: the execution has no row of its own while it is pending';
comment on column rowbell.queue.addressed is 'False: recipients are still to be resolved';
comment on column rowbell.queue.execution_id is 'The execution';
comment on column rowbell.queue.recipient is 'Whose share it is; empty for the action as a whole';
comment on column rowbell.queue.kind is 'Action kind';
comment on column rowbell.queue.lease_by is 'Process that holds or last held the lease';
comment on column rowbell.queue.error is 'Of the last attempt';
comment on column rowbell.queue.address is 'Where to: what the directory gave for the recipient';

create table rowbell.delivery_ended (
	committed_at timestamptz not null,
	ended_at timestamptz not null,
	version_ref integer not null,
	"order" integer not null,
	duration_ms integer,
	action smallint not null,
	attempts smallint not null,
	code smallint,
	execution_id text collate "C" not null,
	recipient text collate "C" not null default '',
	kind text not null,
	status text not null check (status in ('succeeded', 'dead', 'cancelled')),
	reason text,
	address json,
	primary key (execution_id, action, recipient, committed_at)
) partition by range (committed_at);
comment on table rowbell.delivery_ended is 'Ended deliveries of executions that had several. Read the view delivery_done';
comment on column rowbell.delivery_ended.committed_at is 'Commit time of the event; the day decides the partition';
comment on column rowbell.delivery_ended.ended_at is 'When it ended';
comment on column rowbell.delivery_ended.version_ref is 'Workflow version, in surrogate';
comment on column rowbell.delivery_ended."order" is 'Of the action';
comment on column rowbell.delivery_ended.duration_ms is 'Of the last attempt';
comment on column rowbell.delivery_ended.action is 'Index in the version''s actions';
comment on column rowbell.delivery_ended.attempts is 'How many attempts were made';
comment on column rowbell.delivery_ended.code is 'Status code that the last attempt got (HTTP, SMTP)';
comment on column rowbell.delivery_ended.execution_id is 'The execution';
comment on column rowbell.delivery_ended.recipient is 'Whose share it was; empty for the action as a whole';
comment on column rowbell.delivery_ended.kind is 'Action kind';
comment on column rowbell.delivery_ended.status is 'succeeded, dead (gave up) or cancelled';
comment on column rowbell.delivery_ended.reason is 'Why it gave up or was cancelled; null if it succeeded';
comment on column rowbell.delivery_ended.address is 'Where to: what the directory gave for the recipient';

create table rowbell.attempt (
	committed_at timestamptz not null,
	started_at timestamptz not null,
	duration_ms integer not null,
	action smallint not null,
	attempt smallint not null,
	code smallint,
	execution_id text collate "C" not null,
	recipient text collate "C" not null default '',
	error text,
	primary key (execution_id, action, recipient, attempt, committed_at)
) partition by range (committed_at);
comment on table rowbell.attempt is 'Attempts after which a delivery was to be tried again. Its last one is on the row where it ended. Read the view delivery_attempt';
comment on column rowbell.attempt.committed_at is 'Commit time of the event; the day decides the partition';
comment on column rowbell.attempt.started_at is 'When it started';
comment on column rowbell.attempt.duration_ms is 'How long it took';
comment on column rowbell.attempt.action is 'Index in the version''s actions';
comment on column rowbell.attempt.attempt is 'Counts from 1';
comment on column rowbell.attempt.code is 'Status code that it got (HTTP, SMTP)';
comment on column rowbell.attempt.execution_id is 'The execution';
comment on column rowbell.attempt.recipient is 'Whose share; empty for the action as a whole';
comment on column rowbell.attempt.error is 'Why it failed';

create table rowbell.event_default partition of rowbell.event default;
create table rowbell.execution_default partition of rowbell.execution default;
create table rowbell.delivery_ended_default partition of rowbell.delivery_ended default;
create table rowbell.attempt_default partition of rowbell.attempt default;

create table rowbell.big_transaction (
	stream integer not null,
	commit_lsn pg_lsn not null,
	committed_at timestamptz not null,
	status text not null check (status in ('open', 'released', 'skipped', 'held')),
	updated_at timestamptz not null default clock_timestamp(),
	primary key (stream, commit_lsn)
);
comment on table rowbell.big_transaction is 'Transactions that are recorded in parts, and those that the storm guard holds';
comment on column rowbell.big_transaction.stream is 'Stream of its position';
comment on column rowbell.big_transaction.commit_lsn is 'Where the commit record starts';
comment on column rowbell.big_transaction.committed_at is 'Commit time';
comment on column rowbell.big_transaction.status is 'open: parts are still to come; released: its deliveries may be claimed; skipped: marked by the application, nothing is delivered; held: waits for an operator';
comment on column rowbell.big_transaction.updated_at is 'When the status was set (state server''s clock)';

create table rowbell.installation (
	one boolean primary key default true check (one),
	instance text not null,
	system_id text not null,
	database_oid oid not null,
	adopted_at timestamptz not null default clock_timestamp()
);
comment on table rowbell.installation is 'Which source this state belongs to: one row. On any difference rowbell stops and asks for rowbell adopt';
comment on column rowbell.installation.one is 'Always true: there is one row';
comment on column rowbell.installation.instance is 'ROWBELL_INSTANCE';
comment on column rowbell.installation.system_id is 'System identifier of the source''s server';
comment on column rowbell.installation.database_oid is 'Oid of the source database';
comment on column rowbell.installation.adopted_at is 'When this row was written';

create table rowbell.checkpoint (
	slot text primary key,
	epoch bigint not null,
	stream integer not null,
	commit_lsn pg_lsn not null,
	seq integer not null,
	end_lsn pg_lsn not null,
	confirm_lsn pg_lsn not null,
	xid_floor xid8 not null,
	timeline integer not null,
	system_id text not null,
	snapshot text not null,
	moved_at timestamptz not null default clock_timestamp()
) with (fillfactor = 10, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0);
comment on table rowbell.checkpoint is 'Up to where executions are recorded, for each slot. Moved only together with what it stands for, and only by the holder of the epoch';
comment on column rowbell.checkpoint.slot is 'Name of the replication slot';
comment on column rowbell.checkpoint.epoch is 'Grows by one when a worker takes the slot; a worker with an older one writes nothing';
comment on column rowbell.checkpoint.stream is 'Grows by one when LSNs start anew (rowbell resync)';
comment on column rowbell.checkpoint.commit_lsn is 'Commit LSN of the last transaction that is recorded, whole or in part';
comment on column rowbell.checkpoint.seq is 'Last recorded event of that transaction; -1: the whole transaction';
comment on column rowbell.checkpoint.end_lsn is 'End of the last transaction that is recorded whole';
comment on column rowbell.checkpoint.confirm_lsn is 'What may be told to the slot';
comment on column rowbell.checkpoint.xid_floor is 'Greatest xmin that a heartbeat has brought; 32-bit xids in the stream are widened to 64 bits near it';
comment on column rowbell.checkpoint.timeline is 'Timeline of the source''s server';
comment on column rowbell.checkpoint.system_id is 'System identifier of the source''s server';
comment on column rowbell.checkpoint.snapshot is 'pg_snapshot of the first load: what it sees is not matched';
comment on column rowbell.checkpoint.moved_at is 'When it was last moved (state server''s clock)';

create table rowbell.holder (
	slot text primary key,
	epoch bigint not null,
	holder text not null,
	leader_until timestamptz not null,
	taken_at timestamptz not null default clock_timestamp()
) with (fillfactor = 10);
comment on table rowbell.holder is 'Which worker holds a slot. Set and compared by this server''s clock only';
comment on column rowbell.holder.slot is 'Name of the replication slot';
comment on column rowbell.holder.epoch is 'Epoch under which the worker holds it';
comment on column rowbell.holder.holder is 'application_name of the worker''s replication connection: rowbell/<instance>/<id>';
comment on column rowbell.holder.leader_until is 'Renewed each second; 5 s after it, waiting workers end the holder''s connection';
comment on column rowbell.holder.taken_at is 'When this epoch began';

create table rowbell.applied (
	slot text not null,
	kind text not null check (kind in ('workflow', 'table')),
	id text not null,
	version integer not null,
	surrogate integer not null references rowbell.surrogate (ref),
	primary key (slot, kind, id)
);
create index applied_surrogate on rowbell.applied (surrogate);
comment on table rowbell.applied is 'Which version of each workflow and table counts at the checkpoint''s position; changed together with it';
comment on column rowbell.applied.slot is 'Name of the replication slot';
comment on column rowbell.applied.kind is 'workflow or table';
comment on column rowbell.applied.id is 'Workflow id, or the table''s label';
comment on column rowbell.applied.version is 'The version';
comment on column rowbell.applied.surrogate is 'Number that events and executions name it with';

create table rowbell.failure_count (
	slot text not null,
	workflow_id text not null,
	hour timestamptz not null,
	recorded integer not null,
	counted integer not null,
	primary key (slot, hour, workflow_id)
);
comment on table rowbell.failure_count is 'Executions that failed in their conditions, for each workflow and hour; only the first few of an hour are recorded as rows';
comment on column rowbell.failure_count.slot is 'Name of the replication slot';
comment on column rowbell.failure_count.workflow_id is 'The workflow';
comment on column rowbell.failure_count.hour is 'Hour of commit time';
comment on column rowbell.failure_count.recorded is 'How many are rows of workflow_log';
comment on column rowbell.failure_count.counted is 'How many there were in all';

create table rowbell.fired (
	workflow_id text not null,
	table_label text not null,
	row_key text collate "C" not null,
	committed_at timestamptz not null,
	execution_id text collate "C" not null,
	primary key (workflow_id, table_label, row_key)
);
comment on table rowbell.fired is 'Rows for which a workflow with firing mode once_per_row has fired';
comment on column rowbell.fired.workflow_id is 'The workflow, whatever its version';
comment on column rowbell.fired.table_label is 'The table';
comment on column rowbell.fired.row_key is 'The row: key column values joined by commas';
comment on column rowbell.fired.committed_at is 'Commit time of the event';
comment on column rowbell.fired.execution_id is 'The execution that stands';

create table rowbell.stream_gap (
	id bigint generated always as identity primary key,
	slot text not null,
	stream integer not null,
	from_lsn pg_lsn not null,
	to_lsn pg_lsn not null,
	reason text not null,
	found_at timestamptz not null default clock_timestamp(),
	closed_at timestamptz
);
create unique index stream_gap_open on rowbell.stream_gap (slot, stream, from_lsn) where closed_at is null;
comment on table rowbell.stream_gap is 'Stretches of WAL that were lost or skipped. An open one stops the worker until rowbell resync';
comment on column rowbell.stream_gap.id is 'Number';
comment on column rowbell.stream_gap.slot is 'Name of the replication slot';
comment on column rowbell.stream_gap.stream is 'Stream that has the gap';
comment on column rowbell.stream_gap.from_lsn is 'Up to here everything is recorded';
comment on column rowbell.stream_gap.to_lsn is 'From here on changes can be read again; equal to from_lsn if nobody knows';
comment on column rowbell.stream_gap.reason is 'How it came about';
comment on column rowbell.stream_gap.found_at is 'When a worker found it (state server''s clock)';
comment on column rowbell.stream_gap.closed_at is 'When rowbell resync accepted it; null: open';

create table rowbell.notification (
	id text collate "C" primary key,
	tenant_id text,
	recipient_id text not null,
	delivery_id text collate "C" not null unique,
	title text not null,
	body text not null default '',
	link text,
	created_at timestamptz not null default clock_timestamp(),
	read_at timestamptz
);
create index notification_inbox on rowbell.notification (recipient_id, tenant_id, id);
comment on table rowbell.notification is 'The inbox: what the action kind notification delivered';
comment on column rowbell.notification.id is 'ULID';
comment on column rowbell.notification.tenant_id is 'Tenant of the workflow';
comment on column rowbell.notification.recipient_id is 'Whose inbox: the id that the directory gave';
comment on column rowbell.notification.delivery_id is 'The delivery; at most one row each';
comment on column rowbell.notification.title is 'One line';
comment on column rowbell.notification.body is 'The text';
comment on column rowbell.notification.link is 'Where it leads';
comment on column rowbell.notification.created_at is 'When it was delivered';
comment on column rowbell.notification.read_at is 'When the recipient read it; null: not yet';

-- Views: the contract's names and columns. In workflow_log a filter on status drops the
-- branches that can't have it, and one on workflow_id or tenant_id goes through surrogate.
-- Tables of pending executions have no index but their keys: what isn't done is little.

create view rowbell.workflow_event as
select e.event_id as id, e.stream, e.commit_lsn, e.seq, e.side, e.committed_at,
	coalesce(t.name, 'domain:' || (e.data ->> 'name')) as table_name,
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else e.op::text end as operation,
	e.tenant_id, e.row_key, e.data
from rowbell.event e
left join rowbell.surrogate t on t.ref = e.table_ref;
comment on view rowbell.workflow_event is 'Events that matched at least one workflow';
comment on column rowbell.workflow_event.id is 'ULID of commit time, commit LSN, side and seq: the same at every decode';
comment on column rowbell.workflow_event.stream is 'Grows by one when LSNs start anew';
comment on column rowbell.workflow_event.commit_lsn is 'Where the transaction''s commit record starts';
comment on column rowbell.workflow_event.seq is 'Counts from 0 in the transaction';
comment on column rowbell.workflow_event.side is '0; 1 for the create half of a change of tenant';
comment on column rowbell.workflow_event.committed_at is 'Commit time of the change, by the source''s clock';
comment on column rowbell.workflow_event.table_name is 'The table as workflows call it, or domain:<name>';
comment on column rowbell.workflow_event.operation is 'create, update, delete or emit';
comment on column rowbell.workflow_event.tenant_id is 'Value of the row''s tenant column';
comment on column rowbell.workflow_event.row_key is 'Key column values joined by commas';
comment on column rowbell.workflow_event.data is 'What a webhook gets of the row: new, old, changed, unavailable, actor';

create view rowbell.workflow_log as
select x.id, v.id as workflow_id, v.version as workflow_version, v.name as workflow_name, v.tenant_id,
	left(x.id, 26) as trigger_event_id, x.status, x.executed_at, x.result, x.error, x.settled_at, x.committed_at, x.priority
from rowbell.execution x
join rowbell.surrogate v on v.ref = x.version_ref
union all
select q.execution_id, v.id, v.version, v.name, v.tenant_id,
	left(q.execution_id, 26), 'pending', q.executed_at, null::jsonb, q.error, null::timestamptz, q.committed_at, q.priority
from rowbell.queue q
join rowbell.surrogate v on v.ref = q.version_ref
where q.sole
union all
select o.id, v.id, v.version, v.name, v.tenant_id,
	left(o.id, 26), 'pending', o.executed_at, o.result, o.error, null::timestamptz, o.committed_at, o.priority
from rowbell.execution_open o
join rowbell.surrogate v on v.ref = o.version_ref;
comment on view rowbell.workflow_log is 'Executions: one row for each workflow version that matched an event. Filters by id, trigger_event_id, workflow_id, tenant_id, status and executed_at use an index';
comment on column rowbell.workflow_log.id is 'Event id, -, number of the workflow version; with - and the number of the replay behind';
comment on column rowbell.workflow_log.workflow_id is 'The workflow';
comment on column rowbell.workflow_log.workflow_version is 'Its version that applied to the event';
comment on column rowbell.workflow_log.workflow_name is 'Its name at that version';
comment on column rowbell.workflow_log.tenant_id is 'Its tenant; null for an operators'' workflow';
comment on column rowbell.workflow_log.trigger_event_id is 'The event, in workflow_event';
comment on column rowbell.workflow_log.status is 'pending, success, failure or cancelled';
comment on column rowbell.workflow_log.executed_at is 'When the execution was recorded (state server''s clock)';
comment on column rowbell.workflow_log.result is 'What its actions gave back';
comment on column rowbell.workflow_log.error is 'Why it failed or was cancelled; while pending, of the last attempt';
comment on column rowbell.workflow_log.settled_at is 'When its last delivery ended; null while pending';
comment on column rowbell.workflow_log.committed_at is 'Commit time of the event, by the source''s clock';
comment on column rowbell.workflow_log.priority is 'Executions of one event run in this order, lower first';

create view rowbell.workflow_log_kept as
select x.id, v.id as workflow_id, v.version as workflow_version, v.name as workflow_name, v.tenant_id,
	left(x.id, 26) as trigger_event_id, x.status, x.executed_at, x.result, x.error, x.settled_at, x.committed_at, x.priority
from rowbell.execution_default x
join rowbell.surrogate v on v.ref = x.version_ref;
comment on view rowbell.workflow_log_kept is 'The part of workflow_log that outlived its day''s partition: failures and cancelled executions, and odd dates';
comment on column rowbell.workflow_log_kept.id is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.workflow_id is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.workflow_version is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.workflow_name is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.tenant_id is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.trigger_event_id is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.status is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.executed_at is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.result is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.error is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.settled_at is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.committed_at is 'As in workflow_log';
comment on column rowbell.workflow_log_kept.priority is 'As in workflow_log';

create view rowbell.delivery as
select q.execution_id || '.' || q.action || case when q.recipient = '' then '' else '.' || q.recipient end as id,
	q.execution_id, q.action, q.kind, q."order", nullif(q.recipient, '') as recipient,
	case when q.ready_at is null or q.ready_at = 'infinity' then 'waiting'
		when q.lease_until > clock_timestamp() then 'leased' else 'ready' end as state,
	q.attempts, q.ready_at, q.lease_until, q.lease_by, q.error, q.addressed, q.committed_at,
	v.id as workflow_id, v.tenant_id
from rowbell.queue q
join rowbell.surrogate v on v.ref = q.version_ref;
comment on view rowbell.delivery is 'The queue: deliveries that have not ended';
comment on column rowbell.delivery.id is 'Execution id, ., action; with . and the recipient behind. It is the idempotency key of all its attempts';
comment on column rowbell.delivery.execution_id is 'The execution, in workflow_log';
comment on column rowbell.delivery.action is 'Index in the version''s actions';
comment on column rowbell.delivery.kind is 'Action kind';
comment on column rowbell.delivery."order" is 'Of the action: a higher one waits until lower ones are settled';
comment on column rowbell.delivery.recipient is 'Whose share it is; null for the action as a whole';
comment on column rowbell.delivery.state is 'waiting (for a lower order, or for its transaction''s release), ready or leased';
comment on column rowbell.delivery.attempts is 'Attempts so far';
comment on column rowbell.delivery.ready_at is 'When it may be tried';
comment on column rowbell.delivery.lease_until is 'Until when a process has it to itself';
comment on column rowbell.delivery.lease_by is 'Process that holds or last held the lease';
comment on column rowbell.delivery.error is 'Of the last attempt';
comment on column rowbell.delivery.addressed is 'False: recipients are still to be resolved';
comment on column rowbell.delivery.committed_at is 'Commit time of the event';
comment on column rowbell.delivery.workflow_id is 'The workflow';
comment on column rowbell.delivery.tenant_id is 'Its tenant';

create view rowbell.delivery_done as
select x.id || '.' || x.action || coalesce('.' || nullif(x.recipient, ''), '') as id,
	x.id as execution_id, x.action, x.kind, nullif(x.recipient, '') as recipient,
	case x.status when 'success' then 'succeeded' when 'failure' then 'dead' else 'cancelled' end as status,
	x.error as reason, x.attempts, x.code, x.duration_ms, x.settled_at as ended_at, x.committed_at, v.id as workflow_id, v.tenant_id
from rowbell.execution x
join rowbell.surrogate v on v.ref = x.version_ref
where x.action is not null
union all
select d.execution_id || '.' || d.action || case when d.recipient = '' then '' else '.' || d.recipient end,
	d.execution_id, d.action, d.kind, nullif(d.recipient, ''), d.status, d.reason, d.attempts, d.code, d.duration_ms, d.ended_at, d.committed_at, v.id, v.tenant_id
from rowbell.delivery_ended d
join rowbell.surrogate v on v.ref = d.version_ref;
comment on view rowbell.delivery_done is 'Deliveries that ended';
comment on column rowbell.delivery_done.id is 'As in delivery';
comment on column rowbell.delivery_done.execution_id is 'The execution, in workflow_log';
comment on column rowbell.delivery_done.action is 'Index in the version''s actions';
comment on column rowbell.delivery_done.kind is 'Action kind';
comment on column rowbell.delivery_done.recipient is 'Whose share it was; null for the action as a whole';
comment on column rowbell.delivery_done.status is 'succeeded, dead (gave up) or cancelled';
comment on column rowbell.delivery_done.reason is 'Why it gave up or was cancelled';
comment on column rowbell.delivery_done.attempts is 'How many attempts were made';
comment on column rowbell.delivery_done.code is 'Status code that the last attempt got';
comment on column rowbell.delivery_done.duration_ms is 'How long the last attempt took';
comment on column rowbell.delivery_done.ended_at is 'When it ended';
comment on column rowbell.delivery_done.committed_at is 'Commit time of the event';
comment on column rowbell.delivery_done.workflow_id is 'The workflow';
comment on column rowbell.delivery_done.tenant_id is 'Its tenant';

create view rowbell.delivery_attempt as
select a.execution_id || '.' || a.action || case when a.recipient = '' then '' else '.' || a.recipient end as delivery_id,
	a.execution_id, a.attempt, 'retry' as outcome, a.started_at, a.duration_ms, a.code, a.error
from rowbell.attempt a
union all
select d.id, d.execution_id, d.attempts, d.status, d.ended_at - make_interval(secs => d.duration_ms / 1000.0), d.duration_ms, d.code, d.reason
from rowbell.delivery_done d
where d.attempts > 0 and d.duration_ms is not null;
comment on view rowbell.delivery_attempt is 'Every try of every delivery';
comment on column rowbell.delivery_attempt.delivery_id is 'The delivery';
comment on column rowbell.delivery_attempt.execution_id is 'Its execution';
comment on column rowbell.delivery_attempt.attempt is 'Counts from 1';
comment on column rowbell.delivery_attempt.outcome is 'retry, or how the delivery ended: succeeded, dead, cancelled';
comment on column rowbell.delivery_attempt.started_at is 'When it started';
comment on column rowbell.delivery_attempt.duration_ms is 'How long it took';
comment on column rowbell.delivery_attempt.code is 'Status code that it got';
comment on column rowbell.delivery_attempt.error is 'Why it failed';

create view rowbell.row_history as
select t.name as table_name, e.row_key,
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else e.op::text end as operation,
	e.committed_at, e.tenant_id, v.name as workflow_name, x.status, x.error, x.executed_at, x.settled_at,
	v.id as workflow_id, v.version as workflow_version, x.id as execution_id, e.event_id, e.data
from rowbell.event e
left join rowbell.surrogate t on t.ref = e.table_ref
cross join lateral (
	select s.id, s.version_ref, s.status, s.error, s.executed_at, s.settled_at from rowbell.execution s
	where s.id >= e.event_id || '-' and s.id < e.event_id || '.' and s.committed_at = e.committed_at
	union all
	select q.execution_id, q.version_ref, 'pending', q.error, q.executed_at, null from rowbell.queue q
	where q.execution_id >= e.event_id || '-' and q.execution_id < e.event_id || '.' and q.sole
	union all
	select o.id, o.version_ref, 'pending', o.error, o.executed_at, null from rowbell.execution_open o
	where o.id >= e.event_id || '-' and o.id < e.event_id || '.'
) x
join rowbell.surrogate v on v.ref = x.version_ref;
comment on view rowbell.row_history is 'What happened to order 42? select * from rowbell.row_history where table_name = ''orders'' and row_key = ''42'' order by committed_at';
comment on column rowbell.row_history.table_name is 'The table as workflows call it';
comment on column rowbell.row_history.row_key is 'The row: key column values joined by commas';
comment on column rowbell.row_history.operation is 'create, update, delete or emit';
comment on column rowbell.row_history.committed_at is 'When the change was committed';
comment on column rowbell.row_history.tenant_id is 'Tenant of the row';
comment on column rowbell.row_history.workflow_name is 'Workflow that matched';
comment on column rowbell.row_history.status is 'Of its execution: pending, success, failure or cancelled';
comment on column rowbell.row_history.error is 'Why it failed or was cancelled; while pending, of the last attempt';
comment on column rowbell.row_history.executed_at is 'When the execution was recorded';
comment on column rowbell.row_history.settled_at is 'When its last delivery ended';
comment on column rowbell.row_history.workflow_id is 'The workflow';
comment on column rowbell.row_history.workflow_version is 'Its version that applied';
comment on column rowbell.row_history.execution_id is 'The execution, in workflow_log';
comment on column rowbell.row_history.event_id is 'The event, in workflow_event';
comment on column rowbell.row_history.data is 'The row as it was then';

create view rowbell.failing as
select v.id as workflow_id, max(v.name) as workflow_name, v.tenant_id, f.state, f.cause,
	count(*) as count, min(f.at) as first_seen, max(f.at) as last_seen,
	(array_agg(f.execution_id order by f.at desc))[1] as example_execution_id,
	(array_agg(f.error order by f.at desc))[1] as example_error
from (
	select x.version_ref, 'failed' as state, coalesce(regexp_replace(x.error, '[0-9]+', '#', 'g'), 'unknown') as cause,
		x.settled_at as at, x.id as execution_id, x.error
	from rowbell.execution x where x.status = 'failure'
	union all
	select q.version_ref, 'retrying', regexp_replace(q.error, '[0-9]+', '#', 'g'), q.executed_at, q.execution_id, q.error
	from rowbell.queue q where q.error is not null
) f
join rowbell.surrogate v on v.ref = f.version_ref
group by v.id, v.tenant_id, f.state, f.cause;
comment on view rowbell.failing is 'What is failing? select * from rowbell.failing order by last_seen desc';
comment on column rowbell.failing.workflow_id is 'The workflow';
comment on column rowbell.failing.workflow_name is 'Its name';
comment on column rowbell.failing.tenant_id is 'Its tenant';
comment on column rowbell.failing.state is 'failed (executions that are over), or retrying (deliveries that will be tried again)';
comment on column rowbell.failing.cause is 'The error with its numbers left out, so that equal causes count together';
comment on column rowbell.failing.count is 'How many executions (failed) or deliveries (retrying) there are in the log';
comment on column rowbell.failing.first_seen is 'When the first of them failed; of retrying ones, when it was recorded';
comment on column rowbell.failing.last_seen is 'The same of the last';
comment on column rowbell.failing.example_execution_id is 'The last of them';
comment on column rowbell.failing.example_error is 'Its error in full';

-- +goose StatementBegin
create function rowbell.make_partitions(days integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
	parent text;
	child text;
	day date;
	today date := (clock_timestamp() at time zone 'UTC')::date;
	made integer := 0;
begin
	foreach parent in array array['event', 'execution', 'delivery_ended', 'attempt'] loop
		for n in -1 .. days loop
			day := today + n;
			child := parent || '_' || to_char(day, 'YYYYMMDD');
			continue when to_regclass('rowbell.' || child) is not null;
			-- CREATE … PARTITION OF would lock out readers and writers of all days; ATTACH
			-- locks only the DEFAULT partition, to see that it has none of these rows.
			begin
				execute format('create table rowbell.%I (like rowbell.%I including defaults including constraints including comments)', child, parent);
				execute format('comment on table rowbell.%I is %L', child, 'Partition of ' || parent);
				execute format('alter table rowbell.%I attach partition rowbell.%I for values from (%L) to (%L)',
					parent, child, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
				made := made + 1;
			exception when check_violation then
				raise notice 'day % of rowbell.% stays in the DEFAULT partition, which has rows of it', day, parent;
			end;
		end loop;
	end loop;
	return made;
end $$;
-- +goose StatementEnd
comment on function rowbell.make_partitions(integer) is 'Makes the day partitions from yesterday to so many days ahead (UTC) that are missing, and returns how many it made';

select rowbell.make_partitions(7);
