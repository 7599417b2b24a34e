-- +goose Up
-- What people have decided about the log: causes of failures that they have dismissed, and
-- views of it that they keep under a name.

create table rowbell.dismissal (
	dismissed_at timestamptz not null default clock_timestamp(),
	id text collate "C" primary key,
	tenant_id text not null,
	workflow_id text not null,
	cause text not null,
	note text not null check (note <> ''),
	dismissed_by text not null
);
create index dismissal_tenant on rowbell.dismissal (tenant_id, dismissed_at);
create index dismissal_at on rowbell.dismissal (dismissed_at);
comment on table rowbell.dismissal is 'Causes of failures that somebody has dismissed: they are not listed until another execution fails for the same cause. See rowbell failure list';
comment on column rowbell.dismissal.dismissed_at is 'When (state server''s clock): what ended before counts as dismissed';
comment on column rowbell.dismissal.id is 'Made of tenant, workflow and cause: a cause is dismissed once, the last time counts';
comment on column rowbell.dismissal.tenant_id is 'Tenant of the workflow; empty for operators'' ones';
comment on column rowbell.dismissal.workflow_id is 'Whose executions failed';
comment on column rowbell.dismissal.cause is 'Why they failed: the error with # in place of numbers';
comment on column rowbell.dismissal.note is 'Why it needs nobody any more';
comment on column rowbell.dismissal.dismissed_by is 'Who has dismissed it';

create table rowbell.saved_view (
	created_at timestamptz not null default clock_timestamp(),
	shared boolean not null,
	id text collate "C" primary key,
	tenant_id text not null,
	owner text not null,
	name text not null check (name <> ''),
	filter jsonb not null,
	unique (tenant_id, owner, name)
);
comment on table rowbell.saved_view is 'Filters of the log that somebody keeps under a name. See rowbell view list';
comment on column rowbell.saved_view.created_at is 'When it was saved (state server''s clock)';
comment on column rowbell.saved_view.shared is 'Whether all of the tenant see it, or its owner alone';
comment on column rowbell.saved_view.id is 'ULID';
comment on column rowbell.saved_view.tenant_id is 'In which tenant its owner looks at the log; empty: in all';
comment on column rowbell.saved_view.owner is 'Who has saved it: a person or a key, as in audit_log';
comment on column rowbell.saved_view.name is 'What it is called';
comment on column rowbell.saved_view.filter is 'What it shows: keys are parameters of GET /executions, and within';

-- The same as before, with the two tables.

-- +goose StatementBegin
create or replace function rowbell.grant_api() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	-- The columns of secret that say which there are, and those of keys without what proves them.
	secret constant text := 'id, tenant_id, name, key_id, workflow_id, action_id, created_by, created_at, sealed_at';
	g record;
	f record;
	-- All rights in the schema, and what this function says.
	as_it_is constant text := $q$select md5(string_agg(rights, ' ' order by rights)) from (
		select concat_ws(' ', relname, relacl::text) as rights from pg_class where relnamespace = 'rowbell'::regnamespace and not relispartition
		union all select concat_ws(' ', c.relname, a.attname, a.attacl::text) from pg_class c join pg_attribute a on a.attrelid = c.oid
			where c.relnamespace = 'rowbell'::regnamespace and a.attacl is not null
		union all select concat_ws(' ', oid::regprocedure::text, proacl::text) from pg_proc where pronamespace = 'rowbell'::regnamespace
		union all select concat_ws(' ', nspname, nspacl::text) from pg_namespace where nspname = 'rowbell'
		union all select prosrc from pg_proc where oid = 'rowbell.grant_api()'::regprocedure) r$q$;
	known text;
begin
	if rowbell.ensure_api() is null then
		return;
	end if;
	-- Each grant writes catalog rows, also one that changes nothing, and two at a time on the
	-- same one fail. So they are made where they are not as they were made last, by one at a
	-- time: under the lock that ensure_publications takes, which grants as well.
	execute as_it_is into known;
	if obj_description('rowbell.grant_api()'::regprocedure, 'pg_proc') like '%' || known then
		return;
	end if;
	perform pg_advisory_xact_lock(hashtextextended('rowbell.capture', 0));
	grant usage on schema rowbell to rowbell_api;
	for g in
		select to_regclass('rowbell.' || r.name) as rel, r.rights from (values
			-- Definitions, as who edits workflows by SQL has them.
			('setting', 'select'), ('captured_table', 'select'), ('workflow_version', 'select'), ('workflow_health', 'select'), ('function', 'select'),
			('workflow_definition', 'select, insert, update, delete'), ('workflow_trigger', 'select, insert, update, delete'),
			('workflow_condition', 'select, insert, update, delete'), ('workflow_action', 'select, insert, update, delete'),
			('workflow_recipient', 'select, insert, update, delete'), ('template', 'select, insert, update, delete'),
			('pause', 'select, insert, update, delete'), ('member', 'select, insert, update, delete'),
			('secret', format('select (%s), insert (tenant_id, name, plain)', secret)),
			('audit_log', 'select, insert'),
			-- The log, and what waits.
			('statistic_hour', 'select, update (next_at)'), ('tenant_statistic', 'select'), ('workflow_statistic', 'select'),
			('surrogate', 'select'), ('applied', 'select'), ('event', 'select'), ('fired', 'select'), ('alert', 'select'),
			('workflow_log', 'select'), ('workflow_log_kept', 'select'), ('workflow_event', 'select'), ('delivery', 'select'), ('delivery_done', 'select'),
			('delivery_attempt', 'select'), ('row_history', 'select'), ('failing', 'select'), ('endpoint', 'select'),
			-- Retries put ended deliveries back into the queue.
			('execution', 'select, update (error), delete'), ('execution_open', 'select, insert, update'), ('queue', 'select, insert, update (ready_at)'),
			('delivery_ended', 'select, delete'), ('attempt', 'select, insert'),
			('replay', 'select, insert, update'), ('replay_item', 'select, insert, delete'), ('big_transaction', 'select, update'), ('destination', 'select, update'),
			-- People.
			('notification', 'select, update (seen_at, read_at, archived_at)'),
			('preference', 'select, insert, update, delete'), ('quiet_hours', 'select, insert, update, delete'),
			-- What people have decided about the log.
			('dismissal', 'select, insert, update, delete'), ('saved_view', 'select, insert, update, delete')
		) r (name, rights)
	loop
		continue when g.rel is null;
		execute format('grant %s on %s to rowbell_api', g.rights, g.rel);
	end loop;
	for g in
		select c.oid::regclass as rel,
			(select string_agg(quote_ident(a.attname), ', ') from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname <> 'hash') as shown,
			(select string_agg(quote_ident(a.attname), ', ') from pg_attribute a where a.attrelid = c.oid and a.attname in ('revoked_at', 'revoked_by')) as ended
		from pg_class c where c.oid in (to_regclass('rowbell.api_key'), to_regclass('rowbell.link_key'))
	loop
		execute format('grant select (%s), insert on %s to rowbell_api', g.shown, g.rel);
		if g.ended is not null then
			execute format('grant update (%s) on %s to rowbell_api', g.ended, g.rel);
		end if;
	end loop;
	for f in
		select p.oid::regprocedure as signature from pg_proc p
		where p.pronamespace = 'rowbell'::regnamespace and p.proname in ('names_reached', 'templates_of', 'workflows_rendering',
			'set_preference', 'preferences', 'set_quiet_hours', 'clear_quiet_hours', 'quiet_hours_of', 'inbox', 'inbox_count', 'inbox_mark', 'inbox_topic')
	loop
		execute format('grant execute on function %s to rowbell_api', f.signature);
	end loop;
	execute as_it_is into known;
	execute format('comment on function rowbell.grant_api() is %L', 'Gives rowbell_api what the API does, and no more. The rights that it left: ' || known);
end
$$;
-- +goose StatementEnd
comment on function rowbell.grant_api() is 'Gives rowbell_api what the API does, and no more';

select rowbell.apply_policies();
