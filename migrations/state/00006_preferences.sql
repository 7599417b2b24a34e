-- +goose Up
-- What people want, their inbox, and what owners are told.
--
-- The functions are for the application: grant EXECUTE on them to its role. They are
-- SECURITY DEFINER, so that it needs no rights on the tables.

create table rowbell.preference (
	tenant_id text not null default ''
		constraint tenant_id_must_have_at_most_200_characters check (char_length(tenant_id) <= 200),
	recipient_id text not null
		constraint recipient_id_must_have_1_to_200_characters check (char_length(recipient_id) between 1 and 200),
	workflow_id text not null default ''
		constraint workflow_id_must_have_at_most_64_characters check (char_length(workflow_id) <= 64),
	channel text not null default ''
		constraint channel_must_have_at_most_64_characters check (char_length(channel) <= 64),
	wanted boolean not null,
	updated_at timestamptz not null default clock_timestamp(),
	updated_by text not null default session_user,
	primary key (tenant_id, recipient_id, workflow_id, channel)
);
comment on table rowbell.preference is 'What people want to be told. Of somebody''s rows the most specific one counts: workflow and channel, else workflow, else channel, else all; without any, everything is wanted. Written by rowbell.set_preference, the unsubscribe page and rowbell preference';
comment on column rowbell.preference.tenant_id is 'Tenant whose people they are: of the workflow, of an operators'' workflow that of the row; empty without tenants';
comment on column rowbell.preference.recipient_id is 'Who, by the id that the directory gives; of someone without an account, their address';
comment on column rowbell.preference.workflow_id is 'The workflow; empty = all';
comment on column rowbell.preference.channel is 'The action kind, as email; empty = all';
comment on column rowbell.preference.wanted is 'Whether they want it';
comment on column rowbell.preference.updated_at is 'When it was last written';
comment on column rowbell.preference.updated_by is 'Who wrote it: the actor that was named, unsubscribe for the page, else the database user';

create table rowbell.quiet_hours (
	tenant_id text not null default ''
		constraint tenant_id_must_have_at_most_200_characters check (char_length(tenant_id) <= 200),
	recipient_id text not null
		constraint recipient_id_must_have_1_to_200_characters check (char_length(recipient_id) between 1 and 200),
	starts time not null
		constraint starts_must_be_before_midnight check (starts < '24:00'),
	ends time not null,
	days text[] not null default '{mon,tue,wed,thu,fri,sat,sun}'
		constraint days_must_be_mon_to_sun check (days <@ '{mon,tue,wed,thu,fri,sat,sun}' and cardinality(days) between 1 and 7),
	zone text
		constraint zone_must_have_1_to_64_characters check (char_length(zone) between 1 and 64),
	updated_at timestamptz not null default clock_timestamp(),
	updated_by text not null default session_user,
	primary key (tenant_id, recipient_id, starts, ends, days)
);
comment on table rowbell.quiet_hours is 'When people want to be told nothing: what comes meanwhile waits for their end. Written by rowbell.set_quiet_hours and rowbell preference';
comment on column rowbell.quiet_hours.tenant_id is 'As in preference';
comment on column rowbell.quiet_hours.recipient_id is 'As in preference';
comment on column rowbell.quiet_hours.starts is 'Clock time at which they begin';
comment on column rowbell.quiet_hours.ends is 'Clock time at which they end: the next day, if it is not later than starts; 24:00 is midnight';
comment on column rowbell.quiet_hours.days is 'Days on which they begin: mon to sun';
comment on column rowbell.quiet_hours.zone is 'IANA time zone of the clock; null: that of the person, else ROWBELL_TIME_ZONE';
comment on column rowbell.quiet_hours.updated_at is 'When it was last written';
comment on column rowbell.quiet_hours.updated_by is 'As in preference';

-- +goose StatementBegin
create function rowbell.set_preference(
	recipient text,
	wanted boolean,
	workflow text default '',
	channel text default '',
	tenant text default '',
	actor text default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
	if recipient is null or char_length(recipient) not between 1 and 200 then
		raise exception using errcode = 'invalid_parameter_value', message = 'a recipient is named by an id of 1 to 200 characters',
			hint = 'SELECT rowbell.set_preference(''ann'', false, channel => ''email'');';
	end if;
	if wanted is null then
		delete from rowbell.preference p where p.tenant_id = coalesce(tenant, '') and p.recipient_id = recipient
			and p.workflow_id = coalesce(workflow, '') and p.channel = coalesce(set_preference.channel, '');
		return;
	end if;
	insert into rowbell.preference as p (tenant_id, recipient_id, workflow_id, channel, wanted, updated_by)
	values (coalesce(tenant, ''), recipient, coalesce(workflow, ''), coalesce(set_preference.channel, ''), set_preference.wanted,
		coalesce(nullif(actor, ''), nullif(current_setting('rowbell.actor', true), ''), session_user))
	on conflict on constraint preference_pkey do update
		set wanted = excluded.wanted, updated_at = clock_timestamp(), updated_by = excluded.updated_by;
	if (select count(*) from rowbell.preference p where p.tenant_id = coalesce(tenant, '') and p.recipient_id = recipient) > 1000 then
		raise exception using errcode = 'program_limit_exceeded', message = format('%s has more than 1000 preferences', recipient),
			hint = 'Set one for a channel, or for all workflows, instead.';
	end if;
end
$$;
-- +goose StatementEnd
comment on function rowbell.set_preference(text, boolean, text, text, text, text) is 'Says whether somebody wants what a workflow tells through a channel (an action kind). Without workflow or channel it is about all; wanted => null takes back what was said';

-- +goose StatementBegin
create function rowbell.preferences(recipient text, tenant text default '')
returns table (workflow_id text, channel text, wanted boolean, updated_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
	select p.workflow_id, p.channel, p.wanted, p.updated_at from rowbell.preference p
	where p.tenant_id = coalesce(tenant, '') and p.recipient_id = recipient
	order by 1, 2
$$;
-- +goose StatementEnd
comment on function rowbell.preferences(text, text) is 'What somebody has said they want, as set_preference wrote it';

-- +goose StatementBegin
create function rowbell.set_quiet_hours(
	recipient text,
	starts time,
	ends time,
	days text[] default '{mon,tue,wed,thu,fri,sat,sun}',
	zone text default null,
	tenant text default '',
	actor text default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
	week constant text[] := '{mon,tue,wed,thu,fri,sat,sun}';
	chosen text[];
begin
	if recipient is null or char_length(recipient) not between 1 and 200 then
		raise exception using errcode = 'invalid_parameter_value', message = 'a recipient is named by an id of 1 to 200 characters',
			hint = 'SELECT rowbell.set_quiet_hours(''ann'', ''22:00'', ''07:00'');';
	end if;
	if starts is null or ends is null or starts = '24:00' then
		raise exception using errcode = 'invalid_parameter_value', message = 'quiet hours need a time at which they start, and one at which they end',
			hint = 'A whole day is from 00:00 to 24:00.';
	end if;
	if days is null or cardinality(days) = 0 or not lower(days::text)::text[] <@ week then
		raise exception using errcode = 'invalid_parameter_value', message = format('%s are no days', coalesce(days::text, 'NULL')),
			hint = 'Give those on which they start, as {mon,tue,wed,thu,fri}; all if you leave them out.';
	end if;
	if zone is not null and not exists (select from pg_timezone_names z where z.name = set_quiet_hours.zone) then
		raise exception using errcode = 'invalid_parameter_value', message = format('there is no time zone %s', left(zone, 64)),
			hint = 'Give its IANA name, as Europe/Vienna; leave it out for the person''s own.';
	end if;
	chosen := array(select d from unnest(week) with ordinality w (d, n) where d = any (lower(days::text)::text[]) order by n);
	insert into rowbell.quiet_hours as q (tenant_id, recipient_id, starts, ends, days, zone, updated_by)
	values (coalesce(tenant, ''), recipient, set_quiet_hours.starts, set_quiet_hours.ends, chosen, set_quiet_hours.zone,
		coalesce(nullif(actor, ''), nullif(current_setting('rowbell.actor', true), ''), session_user))
	on conflict on constraint quiet_hours_pkey do update
		set zone = excluded.zone, updated_at = clock_timestamp(), updated_by = excluded.updated_by;
	if (select count(*) from rowbell.quiet_hours q where q.tenant_id = coalesce(tenant, '') and q.recipient_id = recipient) > 50 then
		raise exception using errcode = 'program_limit_exceeded', message = format('%s has more than 50 quiet hours', recipient),
			hint = 'Begin anew with rowbell.clear_quiet_hours.';
	end if;
end
$$;
-- +goose StatementEnd
comment on function rowbell.set_quiet_hours(text, time, time, text[], text, text, text) is 'Adds quiet hours to those that somebody has: what comes meanwhile waits for their end. They start on the days given, and end the next day if ends is not later than starts';

-- +goose StatementBegin
create function rowbell.clear_quiet_hours(recipient text, tenant text default '') returns integer
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
	with gone as (
		delete from rowbell.quiet_hours q where q.tenant_id = coalesce(tenant, '') and q.recipient_id = recipient returning 1
	)
	select count(*)::integer from gone
$$;
-- +goose StatementEnd
comment on function rowbell.clear_quiet_hours(text, text) is 'Takes away all quiet hours that somebody has, and returns how many they were. What waits for their end is sent then as it was to be';

-- +goose StatementBegin
create function rowbell.quiet_hours_of(recipient text, tenant text default '')
returns table (starts time, ends time, days text[], zone text, updated_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
	select q.starts, q.ends, q.days, q.zone, q.updated_at from rowbell.quiet_hours q
	where q.tenant_id = coalesce(tenant, '') and q.recipient_id = recipient
	order by 1, 2, 3
$$;
-- +goose StatementEnd
comment on function rowbell.quiet_hours_of(text, text) is 'The quiet hours that somebody has';

-- The inbox: a notification is new, then seen (it was shown in a list), then read; and it
-- may be archived.

alter table rowbell.notification add column seen_at timestamptz;
alter table rowbell.notification add column archived_at timestamptz;
comment on column rowbell.notification.seen_at is 'When it was shown to the recipient in a list; null: not yet';
comment on column rowbell.notification.archived_at is 'When the recipient put it away; null: it is in the inbox';
comment on column rowbell.notification.delivery_id is 'The delivery, at most one row each; alert:<key>:<recipient> of what owners are told';
create index notification_unread on rowbell.notification (recipient_id, tenant_id) where read_at is null and archived_at is null;

-- +goose StatementBegin
create function rowbell.inbox(
	recipient text,
	before text default null,
	most integer default 50,
	archived boolean default false,
	tenant text default null
)
returns table (id text, tenant_id text, title text, body text, link text, created_at timestamptz, seen_at timestamptz, read_at timestamptz, archived_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
	select n.id, n.tenant_id, n.title, n.body, n.link, n.created_at, n.seen_at, n.read_at, n.archived_at from rowbell.notification n
	where n.recipient_id = recipient and (tenant is null or n.tenant_id = tenant or tenant = '' and n.tenant_id is null) and (before is null or n.id < before)
		and (n.archived_at is not null) = coalesce(archived, false)
	order by n.id desc limit least(greatest(coalesce(most, 50), 1), 500)
$$;
-- +goose StatementEnd
comment on function rowbell.inbox(text, text, integer, boolean, text) is 'Somebody''s notifications, the newest first: at most 500, older than the one with id before. Without tenant of all tenants: give it where ids of people are those of a tenant only; an empty one is that of operators'' workflows';

-- +goose StatementBegin
create function rowbell.inbox_count(recipient text, tenant text default null)
returns table (unread integer, unseen integer)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
	select count(*)::integer, (count(*) filter (where n.seen_at is null))::integer from rowbell.notification n
	where n.recipient_id = recipient and (tenant is null or n.tenant_id = tenant or tenant = '' and n.tenant_id is null) and n.read_at is null and n.archived_at is null
$$;
-- +goose StatementEnd
comment on function rowbell.inbox_count(text, text) is 'How many notifications in somebody''s inbox they have not read, and how many of these they were not even shown';

-- +goose StatementBegin
create function rowbell.inbox_mark(recipient text, ids text[], mark text, tenant text default null) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
	marked integer;
begin
	if mark is null or mark not in ('seen', 'read', 'unread', 'archived', 'unarchived') then
		raise exception using errcode = 'invalid_parameter_value', message = format('%s is no mark of a notification', coalesce(quote_literal(left(mark, 60)), 'NULL')),
			hint = 'Marks are seen, read, unread, archived and unarchived.';
	end if;
	if cardinality(ids) > 1000 then
		raise exception using errcode = 'program_limit_exceeded', message = format('%s ids are more than 1000', cardinality(ids)),
			hint = 'Give NULL to mark all in the inbox.';
	end if;
	update rowbell.notification n set
		seen_at = case when mark in ('seen', 'read', 'archived') then coalesce(n.seen_at, clock_timestamp()) else n.seen_at end,
		read_at = case mark when 'read' then coalesce(n.read_at, clock_timestamp()) when 'unread' then null else n.read_at end,
		archived_at = case mark when 'archived' then coalesce(n.archived_at, clock_timestamp()) when 'unarchived' then null else n.archived_at end
	where n.recipient_id = recipient and (tenant is null or n.tenant_id = tenant or tenant = '' and n.tenant_id is null)
		and (n.id = any (ids) or ids is null and (n.archived_at is not null) = (mark = 'unarchived'))
		and case mark when 'seen' then n.seen_at is null when 'read' then n.read_at is null when 'unread' then n.read_at is not null
			when 'archived' then n.archived_at is null else n.archived_at is not null end;
	get diagnostics marked = row_count;
	return marked;
end
$$;
-- +goose StatementEnd
comment on function rowbell.inbox_mark(text, text[], text, text) is 'Marks notifications of somebody''s, all in the inbox if ids is NULL: seen, read (and seen), unread, archived (and seen), unarchived. Returns how many it changed; what is not theirs is left alone';

-- +goose StatementBegin
create function rowbell.inbox_topic(recipient text, tenant text default null) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
	select left(encode(sha256(convert_to(coalesce(tenant, '') || E'\n' || recipient, 'UTF8')), 'hex'), 32)
$$;
-- +goose StatementEnd
comment on function rowbell.inbox_topic(text, text) is 'What NOTIFY rowbell_inbox says when something has come into somebody''s inbox. Everyone who may connect can listen: so it is no id';

revoke execute on function rowbell.set_preference(text, boolean, text, text, text, text), rowbell.preferences(text, text),
	rowbell.set_quiet_hours(text, time, time, text[], text, text, text), rowbell.clear_quiet_hours(text, text), rowbell.quiet_hours_of(text, text),
	rowbell.inbox(text, text, integer, boolean, text), rowbell.inbox_count(text, text), rowbell.inbox_mark(text, text[], text, text),
	rowbell.inbox_topic(text, text) from public;

-- What owners are told.

create table rowbell.alert (
	key text collate "C" primary key,
	kind text not null,
	tenant_id text,
	workflow_id text,
	through text[] not null default '{}',
	subject text not null,
	body text not null default '',
	at timestamptz not null,
	raised_at timestamptz not null default clock_timestamp(),
	next_at timestamptz default clock_timestamp(),
	attempts smallint not null default 0,
	told text[] not null default '{}',
	told_at timestamptz,
	error text
);
create index alert_due on rowbell.alert (next_at) where next_at is not null;
create index alert_raised on rowbell.alert (raised_at);
comment on table rowbell.alert is 'What owners of workflows, or else operators, are told: each occasion once, whichever process finds it';
comment on column rowbell.alert.key is 'Names the occasion: of several with one key the first counts';
comment on column rowbell.alert.kind is 'failing, broken, endpoint, storm or loop';
comment on column rowbell.alert.tenant_id is 'Whose it is; null for operators';
comment on column rowbell.alert.workflow_id is 'The workflow; null if it is about more than one';
comment on column rowbell.alert.through is 'Action kinds that fail, which are no way to tell of it';
comment on column rowbell.alert.subject is 'What happened, in one line';
comment on column rowbell.alert.body is 'Since when, how often, an example, and how to mend it';
comment on column rowbell.alert.at is 'When it happened';
comment on column rowbell.alert.raised_at is 'When it was found';
comment on column rowbell.alert.next_at is 'When it is to be told, or told again after a failure; while a process is at it, when another one may; null: it is over';
comment on column rowbell.alert.attempts is 'How often it was begun to be told';
comment on column rowbell.alert.told is 'Who was told, and how: email:ann';
comment on column rowbell.alert.told_at is 'When all were told';
comment on column rowbell.alert.error is 'Why nobody, or not everybody, could be told';

create table rowbell.alert_watch (
	workflow_id text primary key,
	since timestamptz not null,
	told_to timestamptz not null,
	digest_at timestamptz
);
comment on table rowbell.alert_watch is 'Workflows whose failures owners were told of: the first one at once, later ones in a digest';
comment on column rowbell.alert_watch.workflow_id is 'The workflow';
comment on column rowbell.alert_watch.since is 'Failures from here on are counted in the next digest';
comment on column rowbell.alert_watch.told_to is 'Failures up to here are told';
comment on column rowbell.alert_watch.digest_at is 'When the next digest is due; null: there was nothing to tell in the last one, and the next failure is told at once';

create table rowbell.alert_sweep (
	one boolean primary key default true check (one),
	swept_to timestamptz not null
);
comment on table rowbell.alert_sweep is 'How far failures were looked at: one row';
comment on column rowbell.alert_sweep.one is 'True';
comment on column rowbell.alert_sweep.swept_to is 'When a process last looked; what failed before this migration is not told';
insert into rowbell.alert_sweep (swept_to) values (clock_timestamp());

create index execution_failed on rowbell.execution (settled_at) where status = 'failure';

-- A delivery that waits for the end of quiet hours doesn't fail.
create or replace view rowbell.failing as
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
	from rowbell.queue q where q.error is not null and q.error not like 'quiet\_hours: %'
) f
join rowbell.surrogate v on v.ref = f.version_ref
group by v.id, v.tenant_id, f.state, f.cause;

comment on column rowbell.queue.error is 'Why the last attempt failed, or why it waits: quiet_hours: begins what the recipient''s quiet hours put off';
comment on column rowbell.delivery.error is 'Why the last attempt failed, or why it waits: quiet_hours: begins what the recipient''s quiet hours put off';
comment on column rowbell.delivery_done.reason is 'Why it gave up or was cancelled; of a gate, why it did not pass. no_address:, left_out: and opted_out: begin what concerns one person only';
