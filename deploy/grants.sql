-- What the roles of roles.sql may do with Rowbell's tables. Run it after each
-- `rowbell migrate` and before the workers of the new version start, as rowbell_migrate or
-- a superuser; where ROWBELL_STATE_URL names another database, there too. It may be run
-- again at any time: it takes away from rowbell_run, rowbell_tenant and rowbell_api what they
-- had in schema rowbell, and gives them what is written here, in one transaction.
--
--     psql -v ON_ERROR_STOP=1 -d shop -f grants.sql
--
-- THE LOG. Rowbell makes and drops a partition of the log for each day, and PostgreSQL
-- lets only a table's owner do that. So rowbell_run owns four tables and their partitions:
-- event, execution, delivery_ended and attempt. That gives it nothing over the rest: not
-- over definitions, versions, secrets, functions, publications. The price: whoever gets
-- hold of rowbell_run can destroy the log, which it could empty anyway, and can put
-- triggers on its tables, which would run as whoever writes there (rowbell_migrate, if
-- ever a migration does). It can make other objects in the schema too.
--   Membership in rowbell_migrate would do as well, and give it everything. Functions
-- with SECURITY DEFINER would give it less; they come if this proves too much.
--
-- CAPTURE. Run the workers with ROWBELL_CAPTURE=manual. Tables are captured by their
-- owner, to whom a superuser gives once
--     grant rowbell_publisher to shop_owner;
-- and who then says, outside a transaction block,
--     call rowbell.capture('orders');
--   With ROWBELL_CAPTURE=auto the worker captures what workflows name. Publishing a table
-- needs its owner's rights, and these include reading and writing all its tables:
--     grant rowbell_publisher, shop_owner to rowbell_run;
--
-- TENANTS. Row-level security keeps them apart: a member of rowbell_tenant sees and edits
-- the rows of those tenants that rowbell.sql_member gives to the role they log in as.
--     grant rowbell_tenant to alice;
--     insert into rowbell.sql_member (role_name, tenant_id, access) values ('alice', 'acme', 'edit');
--   With access view they only look. With tenant_id '*' somebody sees all tenants and the
-- operators' own workflows, as rowbell_run must.
--   rowbell_api has what the API does. Rowbell gives it these rights itself
-- (rowbell.grant_api), and makes the policies: rowbell.apply_policies, at the end.

begin;

set local lock_timeout = '2s';

do $$
declare
	owner constant name := (select pg_get_userbyid(nspowner) from pg_catalog.pg_namespace where nspname = 'rowbell');
	rel record;
begin
	if owner is null then
		raise exception using errcode = 'invalid_schema_name', message = 'there is no schema rowbell in this database',
			hint = 'Run rowbell migrate as rowbell_migrate first.';
	end if;
	if owner <> 'rowbell_migrate' then
		raise exception using errcode = 'object_not_in_prerequisite_state', message = format('schema rowbell belongs to %I', owner),
			hint = format('Run rowbell migrate as rowbell_migrate. Where it was run as another role: REASSIGN OWNED BY %I TO rowbell_migrate;', owner);
	end if;

	if to_regrole('rowbell_api') is null then
		raise exception using errcode = 'undefined_object', message = 'there is no role rowbell_api',
			hint = 'Run roles.sql of this version first.';
	end if;

	-- The log's tables and partitions, also those that a migration has just made.
	for rel in
		select c.oid::regclass as name, c.relowner from pg_catalog.pg_class c
		where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p')
			and c.relname ~ '^(event|execution|delivery_ended|attempt)(_default|_[0-9]{8})?$'
	loop
		if rel.relowner <> 'rowbell_run'::regrole then
			execute format('grant create on schema rowbell to rowbell_run'); -- a new owner must have it
			execute format('alter table %s owner to rowbell_run', rel.name);
		end if;
		execute format('revoke all on %s from rowbell_tenant, rowbell_api', rel.name);
	end loop;
	for rel in
		select c.oid::regclass as name from pg_catalog.pg_class c
		where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relowner <> 'rowbell_run'::regrole
	loop
		execute format('revoke all on %s from rowbell_run, rowbell_tenant, rowbell_api', rel.name);
	end loop;
	revoke all on schema rowbell from rowbell_run, rowbell_tenant, rowbell_api;
	grant usage on schema rowbell to rowbell_run, rowbell_tenant;

	if to_regclass('rowbell.workflow_definition') is not null then -- the source
		-- Reads definitions, and says how they are.
		grant select on rowbell.migration_source, rowbell.setting, rowbell.workflow_definition, rowbell.workflow_version,
			rowbell.captured_table, rowbell.sql_member to rowbell_run;
		-- Calls the functions that operators have registered.
		if to_regclass('rowbell.function') is not null then
			grant select on rowbell.function to rowbell_run;
			grant select on rowbell.function to rowbell_tenant;
			grant usage on schema rowbell to rowbell_operator;
		end if;
		-- What texts of several workflows render.
		if to_regclass('rowbell.template') is not null then
			grant select on rowbell.template to rowbell_run;
			grant select, insert, update, delete on rowbell.template to rowbell_tenant;
		end if;
		grant update (publication, tenant_column) on rowbell.setting to rowbell_run;
		grant select, insert, update, delete on rowbell.workflow_health to rowbell_run;
		-- Who may use the API: looks up keys and members, writes when keys were used, makes the
		-- first key, and keeps all of it for rowbell key, link and member and for the API.
		if to_regclass('rowbell.api_key') is not null then
			grant select, insert, update (last_used_at, revoked_at, revoked_by) on rowbell.api_key to rowbell_run;
			grant select, insert, update (revoked_at, revoked_by) on rowbell.link_key to rowbell_run;
			grant select, insert, update, delete on rowbell.member to rowbell_run;
			grant update (first_key_at) on rowbell.setting to rowbell_run;
		end if;
		-- What requests to the API were answered, for those that come again.
		if to_regclass('rowbell.api_request') is not null then
			grant select, insert, update, delete on rowbell.api_request to rowbell_run;
		end if;
		-- Seals plain secrets, and uses sealed ones.
		grant select, update (plain, sealed, key_id, sealed_at) on rowbell.secret to rowbell_run;
		-- Lets deliveries wait; rowbell pause and resume.
		grant select, delete, insert (tenant_id, workflow_id, kind, reason, until) on rowbell.pause to rowbell_run;
		grant select on rowbell.pause to rowbell_tenant;
		-- What commands do with its settings is noted: rowbell destination, delivery, replay,
		-- storm. Who reads the audit log, and erases (rowbell audit, tenant delete, erase), is
		-- rowbell_migrate. What is older than ROWBELL_AUDIT_RETENTION goes by a function.
		grant insert (tenant_id, action, object_type, object_id, before, after, detail) on rowbell.audit_log to rowbell_run;
		grant execute on function rowbell.trim_audit(integer, integer) to rowbell_run;

		-- For who captures tables. A migration gives it as well, if it finds the role.
		grant usage on schema rowbell to rowbell_publisher;
		grant select on rowbell.setting to rowbell_publisher;
		grant select, insert on rowbell.captured_table to rowbell_publisher;

		grant select, insert, update, delete on rowbell.workflow_definition, rowbell.workflow_trigger, rowbell.workflow_condition,
			rowbell.workflow_action, rowbell.workflow_recipient to rowbell_tenant;
		grant select on rowbell.workflow_version, rowbell.workflow_health, rowbell.captured_table, rowbell.setting to rowbell_tenant;
		-- rowbell workflow says there who did what; nobody but Rowbell reads it.
		grant insert (tenant_id, action, object_type, object_id, before, after, detail) on rowbell.audit_log to rowbell_tenant;
		-- Which secrets there are, never what they are.
		grant select (id, tenant_id, name, key_id, workflow_id, action_id, created_by, created_at, sealed_at)
			on rowbell.secret to rowbell_tenant;
		grant insert (tenant_id, name, plain) on rowbell.secret to rowbell_tenant;
		-- What the worker doesn't see is deleted to it.
		insert into rowbell.sql_member (role_name, tenant_id, access) values ('rowbell_run', '*', 'edit')
		on conflict (role_name, tenant_id) do update set access = 'edit' where sql_member.access <> 'edit';
	end if;

	if to_regclass('rowbell.queue') is not null then -- the state
		grant create on schema rowbell to rowbell_run; -- partitions
		grant select on rowbell.migration_state to rowbell_run;
		grant select, insert, update on rowbell.installation, rowbell.checkpoint, rowbell.holder to rowbell_run;
		grant select, insert on rowbell.stream_gap to rowbell_run; -- rowbell resync closes them
		grant select, insert, update, delete on rowbell.applied, rowbell.surrogate, rowbell.failure_count, rowbell.big_transaction,
			rowbell.queue, rowbell.execution_open, rowbell.destination, rowbell.executor,
			rowbell.replay, rowbell.replay_item, rowbell.statistic_hour, rowbell.tenant_statistic, rowbell.workflow_statistic to rowbell_run;
		grant select on rowbell.endpoint to rowbell_run;
		-- What people have decided about the log.
		grant select, insert, update, delete on rowbell.dismissal, rowbell.saved_view to rowbell_run;
		grant select, insert, update on rowbell.tenant_weight to rowbell_run; -- the API's setWeight
		grant select, insert, delete on rowbell.fired to rowbell_run;
		-- The inbox: puts in, lists and marks for the API, and takes out what is old.
		grant select, insert, delete, update (seen_at, read_at, archived_at) on rowbell.notification to rowbell_run;
		-- What people want; the unsubscribe page writes it.
		grant select, insert, update on rowbell.preference to rowbell_run;
		grant select on rowbell.quiet_hours to rowbell_run;
		grant execute on function rowbell.set_preference(text, boolean, text, text, text, text), rowbell.inbox_mark(text, text[], text, text),
			rowbell.set_quiet_hours(text, time, time, text[], text, text, text), rowbell.clear_quiet_hours(text, text),
			rowbell.inbox_topic(text, text) to rowbell_run;
		-- What owners are told.
		grant select, insert, update, delete on rowbell.alert, rowbell.alert_watch to rowbell_run;
		grant select, update on rowbell.alert_sweep to rowbell_run;
	end if;

	-- With state in another database people read the log through the API.
	if to_regclass('rowbell.workflow_definition') is not null and to_regclass('rowbell.queue') is not null then
		grant select on rowbell.workflow_log, rowbell.workflow_log_kept, rowbell.workflow_event, rowbell.delivery, rowbell.delivery_done,
			rowbell.delivery_attempt, rowbell.row_history, rowbell.failing, rowbell.endpoint to rowbell_tenant;
		-- What rowbell workflow simulate and explain go by besides.
		grant select on rowbell.surrogate, rowbell.big_transaction, rowbell.fired to rowbell_tenant;
		grant select on rowbell.workflow_log, rowbell.workflow_event, rowbell.delivery, rowbell.delivery_done to rowbell_run;
	end if;

	-- Last, since policies name the owners of tables.
	if to_regprocedure('rowbell.apply_policies()') is not null then
		perform rowbell.apply_policies();
	end if;
end
$$;

commit;
