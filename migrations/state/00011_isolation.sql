-- +goose Up
-- Row-level security for the log: see source/00014_isolation.sql. The views that people
-- read run with the rights of their owner, who sees all, and filter themselves. They are
-- security barriers, so that nothing of what is asked of them runs on rows that the asker
-- may not see, but what the server knows to be silent about them: comparisons.

-- The following is word for word in source/00014 and in state/00011, since both databases
-- need it and may be one.

-- +goose StatementBegin
create or replace function rowbell.ensure_api() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	-- Roles belong to the whole cluster, so another database may be doing the same.
	if to_regrole('rowbell_api') is null
		and (select rolcreaterole or rolsuper from pg_roles where rolname = current_user) then
		begin
			create role rowbell_api nologin;
			comment on role rowbell_api is 'Rowbell: takes it on for what the API does for a tenant, named by the transaction''s setting rowbell.tenant, or for all: *. Nobody else is to be a member';
		exception when duplicate_object or unique_violation then
			null;
		end;
	end if;
	if to_regrole('rowbell_api') is null then
		return null;
	end if;
	if not pg_has_role(current_user, 'rowbell_api', 'usage') then
		begin
			execute format('grant rowbell_api to %I', current_user);
		exception when insufficient_privilege or unique_violation or internal_error then
			null;
		end;
	end if;
	return 'rowbell_api';
end
$$;
-- +goose StatementEnd
comment on function rowbell.ensure_api() is 'Makes role rowbell_api where the caller may, and makes the caller its member. Returns its name; null if there is none';

-- +goose StatementBegin
create or replace function rowbell.granted_tenants(to_edit boolean) returns text[]
language plpgsql stable security definer parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	if to_regclass('rowbell.sql_member') is null then
		return '{}'; -- the state's own database: people read it through the API
	end if;
	return (select coalesce(array_agg(m.tenant_id), '{}') from rowbell.sql_member m
		where m.role_name = session_user and (not to_edit or m.access = 'edit'));
end
$$;
-- +goose StatementEnd
comment on function rowbell.granted_tenants(boolean) is 'The tenants that sql_member gives to the session''s user, to see or to edit; * stands for all';

-- +goose StatementBegin
create or replace function rowbell.tenants(to_edit boolean default false) returns text[]
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	-- Anybody can set rowbell.tenant: it counts for this role only, which nobody can take on
	-- who isn't its member.
	if current_user = 'rowbell_api' then
		return array_remove(array[nullif(nullif(current_setting('rowbell.tenant', true), ''), '*')], null);
	end if;
	return rowbell.granted_tenants(to_edit);
end
$$;
-- +goose StatementEnd
comment on function rowbell.tenants(boolean) is 'The tenants whose rows the current user may see, or edit: for rowbell_api the one of setting rowbell.tenant, where * is no tenant''s name, for others those of sql_member. Who owns the tables sees more: sees_all';

-- +goose StatementBegin
create or replace function rowbell.sees_all(to_edit boolean default false) returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return case
		when current_user = 'rowbell_api' then current_setting('rowbell.tenant', true) = '*' is true
		when pg_has_role(current_user, (select n.nspowner from pg_namespace n where n.nspname = 'rowbell'), 'usage') then true
		-- The worker, which need not own the rest.
		when pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = to_regclass('rowbell.event')), 'usage') then true
		else '*' = any (rowbell.granted_tenants(to_edit))
	end;
end
$$;
-- +goose StatementEnd
comment on function rowbell.sees_all(boolean) is 'Whether the current user may see, or edit, the rows of all tenants and the operators'' own: owners of the schema and of the log, who has a row with tenant_id * in sql_member, and rowbell_api where rowbell.tenant is *';

-- +goose StatementBegin
create or replace function rowbell.check_tenant(tenant text, to_edit boolean default false) returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	who name := session_user;
	may text[];
begin
	-- In functions with the rights of their owner current_user says nothing of the caller.
	if session_user = 'rowbell_api' or current_setting('role', true) = 'rowbell_api' then
		if current_setting('rowbell.tenant', true) = '*' then
			return;
		end if;
		who := 'rowbell_api';
		may := array_remove(array[nullif(nullif(current_setting('rowbell.tenant', true), ''), '*')], null);
	elsif pg_has_role(session_user, (select n.nspowner from pg_namespace n where n.nspname = 'rowbell'), 'usage')
		or coalesce(pg_has_role(session_user, (select c.relowner from pg_class c where c.oid = to_regclass('rowbell.event')), 'usage'), false) then
		return;
	else
		may := rowbell.granted_tenants(to_edit);
		-- The application's role has no rights on tables and may execute a function: it speaks
		-- for all its tenants. Whoever has been given one, or rights on the tables, does not,
		-- also when that tenant was taken away again.
		if '*' = any (may) or rowbell.granted_tenants(false) = '{}'
			and not coalesce(has_table_privilege(session_user, to_regclass('rowbell.workflow_definition'), 'select'), false) then
			return;
		end if;
	end if;
	if nullif(tenant, '') is null or tenant <> all (may) then
		raise exception using errcode = 'insufficient_privilege',
			message = format('%s may not %s %s', who, case when to_edit then 'change' else 'see' end,
				case when tenant = '' or tenant is null then 'what belongs to no tenant, or to all' else 'what belongs to tenant ' || left(tenant, 200) end),
			hint = case when who = 'rowbell_api' then 'rowbell_api acts for the tenant that its transaction names by rowbell.tenant.'
				else format('Name a tenant of your own. An operator gives one by: INSERT INTO rowbell.sql_member (role_name, tenant_id, access) VALUES (%L, %L, %L);',
					who, coalesce(nullif(left(tenant, 200), ''), 'acme'), case when to_edit then 'edit' else 'view' end) end;
	end if;
end
$$;
-- +goose StatementEnd
comment on function rowbell.check_tenant(text, boolean) is 'Raises an error unless who called may see, or change, what belongs to a tenant; null or empty: to operators, or to all. For functions with the rights of their owner';
revoke execute on function rowbell.check_tenant(text, boolean) from public;

-- +goose StatementBegin
create or replace function rowbell.refuse_row(of_tenant text, of_workflow text default null) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	raise exception using errcode = 'insufficient_privilege',
		message = case
			when of_workflow is not null then format('there is no workflow %s that %s may edit', left(of_workflow, 64), current_user)
			when of_tenant is null then format('%s may not write rows without tenant_id, which are the operators''', current_user)
			else format('%s may not write rows of tenant %s', current_user, left(of_tenant, 200)) end,
		hint = case when current_user = 'rowbell_api' then 'rowbell_api acts for the tenant that its transaction names by rowbell.tenant.'
			else 'Your tenants are in: SELECT rowbell.tenants(to_edit => true); an operator gives one by a row in rowbell.sql_member.' end;
end
$$;
-- +goose StatementEnd
comment on function rowbell.refuse_row(text, text) is 'What a policy calls for a row that it refuses, so that the error says why. Returns nothing';

-- +goose StatementBegin
create or replace function rowbell.check_editor() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	-- Without this a statement of who may only look would change no row, and say so.
	if not rowbell.sees_all(true) and rowbell.tenants(true) = '{}' then
		raise exception using errcode = 'insufficient_privilege',
			message = format('%s may not edit rowbell.%s: %s', current_user, tg_table_name,
				case when rowbell.tenants() = '{}' and not rowbell.sees_all() then 'no tenant is theirs' else 'their access is view' end),
			hint = format('An operator gives it by: INSERT INTO rowbell.sql_member (role_name, tenant_id, access) VALUES (%L, ''acme'', ''edit'') ON CONFLICT (role_name, tenant_id) DO UPDATE SET access = ''edit'';', session_user);
	end if;
	return null;
end
$$;
-- +goose StatementEnd
comment on function rowbell.check_editor() is 'Trigger: says so to who may edit nothing, where row-level security would leave all as it is';
revoke execute on function rowbell.check_editor() from public;

-- +goose StatementBegin
create or replace function rowbell.row_rule(table_name name, to_edit boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	mine constant text := format('tenant_id = any ((select rowbell.tenants(%s))::text[])', to_edit::text);
	-- A version's number is in surrogate, with its tenant.
	version constant text := 'exists (select from rowbell.surrogate s where s.ref = %s and s.' || mine || ')';
	has constant name[] := array(select a.attname from pg_attribute a
		where a.attrelid = to_regclass(format('rowbell.%I', table_name)) and a.attnum > 0 and not a.attisdropped);
	rule text;
begin
	rule := case
		when table_name in ('workflow_trigger', 'workflow_condition', 'workflow_action', 'workflow_recipient') then
			format('exists (select from rowbell.workflow_definition d where d.id = %I.workflow_id and d.%s)', table_name, mine)
		-- What changes of a tenant is not told apart in a transaction that is recorded in parts:
		-- of it there is only where it stands. A storm is one workflow's.
		when table_name = 'big_transaction' and to_edit then 'stream < 0 and ' || format(version, '- big_transaction.stream')
		when table_name = 'big_transaction' then 'stream >= 0 or ' || format(version, '- big_transaction.stream')
		when table_name = 'applied' then
			format('exists (select from rowbell.surrogate s where s.ref = applied.surrogate and (s.%s or s.kind = ''table''))', mine)
		when table_name = 'replay' then
			format('filter ->> ''tenant'' = any ((select rowbell.tenants(%s))::text[])', to_edit::text)
		when table_name = 'pause' then
			format('%s or tenant_id is null and exists (select from rowbell.workflow_definition d where d.id = pause.workflow_id and d.%1$s)', mine)
		-- Without tenant these are for everybody to use: names of tables, templates that the
		-- workflows of all may render, functions that they may call.
		when table_name = 'surrogate' and not to_edit then mine || ' or kind = ''table'''
		when table_name in ('template', 'function') and not to_edit then mine || ' or tenant_id is null'
		when 'tenant_id' = any (has) then mine
		when 'version_ref' = any (has) then format(version, quote_ident(table_name) || '.version_ref')
		when 'execution_id' = any (has) then format(version, format('split_part(%I.execution_id, ''-'', 2)::integer', table_name))
		when 'workflow_id' = any (has) then
			format('exists (select from rowbell.surrogate s where s.kind = ''workflow'' and s.id = %I.workflow_id and s.%s)', table_name, mine)
	end;
	return '(select rowbell.sees_all(' || to_edit::text || ')) or ' || rule; -- null without a rule
end
$$;
-- +goose StatementEnd
comment on function rowbell.row_rule(name, boolean) is 'The condition by which row-level security shows rows of a table to others than its owner, or lets them be edited; null for a table that holds nothing of tenants';

-- +goose StatementBegin
create or replace function rowbell.apply_policies() returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	t record;
	owners text;
	refusal text;
	want text;
	changed integer := 0;
	-- What there is of our policies, as the server has understood it.
	there constant text := $q$select coalesce(md5(string_agg(concat_ws('|', polname, polcmd, polpermissive, polroles::text,
		pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)), '/' order by polname)), '')
		from pg_policy where polrelid = $1$q$;
	as_it_is text;
	known text;
begin
	if not pg_has_role(current_user, (select n.nspowner from pg_namespace n where n.nspname = 'rowbell'), 'usage') then
		return 0; -- a worker that finds nothing to migrate
	end if;
	for t in
		select c.oid::regclass as rel, c.relname, c.relrowsecurity and c.relforcerowsecurity as forced, c.relowner,
			rowbell.row_rule(c.relname, false) as seen, rowbell.row_rule(c.relname, true) as edited
		from pg_class c
		where c.relnamespace = 'rowbell'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
		order by c.relname
	loop
		continue when t.seen is null;
		-- For these a condition that is always true is all that is left when a statement is
		-- planned: recording and delivering cost what they did.
		select string_agg(quote_ident(r), ', ' order by r) into owners from (
			select pg_get_userbyid(t.relowner) as r
			union select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'rowbell'
			union select pg_get_userbyid(c.relowner) from pg_class c where c.oid = to_regclass('rowbell.event')) o;
		refusal := case
			when t.relname in ('workflow_trigger', 'workflow_condition', 'workflow_action', 'workflow_recipient') then ' or rowbell.refuse_row(null, workflow_id)'
			when t.relname in ('workflow_definition', 'template', 'secret') then ' or rowbell.refuse_row(tenant_id)'
			else '' end;
		want := md5(concat_ws('|', owners, t.seen, t.edited, refusal));
		execute there into as_it_is using t.rel;
		select obj_description(p.oid, 'pg_policy') into known from pg_policy p where p.polrelid = t.rel and p.polname = 'everything';
		-- A lock on a table that all workers use is not taken for nothing.
		continue when t.forced and known is not distinct from format('Made by rowbell.apply_policies: %s %s', want, as_it_is);
		execute format('alter table %s enable row level security, force row level security', t.rel);
		execute format('drop policy if exists everything on %1$s; drop policy if exists seen on %1$s; drop policy if exists inserted on %1$s;
			drop policy if exists updated on %1$s; drop policy if exists deleted on %1$s', t.rel);
		execute format('create policy everything on %s to %s using (true) with check (true)', t.rel, owners);
		execute format('create policy seen on %s for select using (%s)', t.rel, t.seen);
		execute format('create policy inserted on %s for insert with check (%s%s)', t.rel, t.edited, refusal);
		execute format('create policy updated on %s for update using (%s) with check (%2$s%s)', t.rel, t.edited, refusal);
		execute format('create policy deleted on %s for delete using (%s)', t.rel, t.edited);
		execute there into as_it_is using t.rel;
		execute format('comment on policy everything on %s is %L', t.rel, format('Made by rowbell.apply_policies: %s %s', want, as_it_is));
		changed := changed + 1;
	end loop;
	-- Partitions are read through their tables, whose policies count then. By themselves they
	-- are nobody's but the owner's, whatever is granted on all tables of the schema.
	for t in
		select c.oid::regclass as rel from pg_class c
		where c.relnamespace = 'rowbell'::regnamespace and c.relkind = 'r' and c.relispartition and not c.relrowsecurity
	loop
		execute format('alter table %s enable row level security', t.rel);
	end loop;
	perform rowbell.grant_api();
	return changed;
end
$$;
-- +goose StatementEnd
comment on function rowbell.apply_policies() is 'Makes the policies of row-level security on all tables that hold something of tenants, where they are not as they should be, and gives rowbell_api its rights. Called by rowbell migrate and by grants.sql. Returns on how many tables it made them';

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
			('preference', 'select, insert, update, delete'), ('quiet_hours', 'select, insert, update, delete')
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

-- Policies and views call these for whoever reads: they tell everybody about themselves only.
grant execute on function rowbell.granted_tenants(boolean), rowbell.tenants(boolean), rowbell.sees_all(boolean), rowbell.refuse_row(text, text) to public;

-- End of what is in both.

-- The conditions are written so that what doesn't depend on the row is asked once for each
-- statement.
--
-- A UNION ALL is no barrier, whatever its view says: the server takes it apart, and asks
-- each of its branches everything (tried on 15). So each branch is a view of its own, that
-- nobody is granted.

create or replace view rowbell.workflow_event with (security_barrier) as
select e.event_id as id, e.stream, e.commit_lsn, e.seq, e.side, e.committed_at,
	coalesce(t.name, 'domain:' || e.domain) as table_name,
	case e.op when 'c' then 'create' when 'u' then 'update' when 'd' then 'delete' when 'e' then 'emit' else e.op::text end as operation,
	e.tenant_id, e.row_key, e.data, e.chain
from rowbell.event e
left join rowbell.surrogate t on t.ref = e.table_ref
where (select rowbell.sees_all()) or e.tenant_id = any ((select rowbell.tenants())::text[]);

create view rowbell.workflow_log_settled (id, workflow_id, workflow_version, workflow_name, tenant_id, trigger_event_id, status, executed_at, result, error, settled_at, committed_at, priority) with (security_barrier) as
select x.id, v.id as workflow_id, v.version as workflow_version, v.name as workflow_name, v.tenant_id,
	left(x.id, 26) as trigger_event_id, x.status, x.executed_at, x.result, x.error, x.settled_at, x.committed_at, x.priority
from rowbell.execution x
join rowbell.surrogate v on v.ref = x.version_ref
where (select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[]);

create view rowbell.workflow_log_queued (id, workflow_id, workflow_version, workflow_name, tenant_id, trigger_event_id, status, executed_at, result, error, settled_at, committed_at, priority) with (security_barrier) as
select q.execution_id, v.id, v.version, v.name, v.tenant_id,
	left(q.execution_id, 26), 'pending', q.executed_at, null::jsonb, q.error, null::timestamptz, q.committed_at, q.priority
from rowbell.queue q
join rowbell.surrogate v on v.ref = q.version_ref
where q.sole and ((select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[]));

create view rowbell.workflow_log_open (id, workflow_id, workflow_version, workflow_name, tenant_id, trigger_event_id, status, executed_at, result, error, settled_at, committed_at, priority) with (security_barrier) as
select o.id, v.id, v.version, v.name, v.tenant_id,
	left(o.id, 26), 'pending', o.executed_at, o.result, o.error, null::timestamptz, o.committed_at, o.priority
from rowbell.execution_open o
join rowbell.surrogate v on v.ref = o.version_ref
where (select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[]);

create or replace view rowbell.workflow_log with (security_barrier) as
select * from rowbell.workflow_log_settled
union all
select * from rowbell.workflow_log_queued
union all
select * from rowbell.workflow_log_open;

create or replace view rowbell.workflow_log_kept with (security_barrier) as
select x.id, v.id as workflow_id, v.version as workflow_version, v.name as workflow_name, v.tenant_id,
	left(x.id, 26) as trigger_event_id, x.status, x.executed_at, x.result, x.error, x.settled_at, x.committed_at, x.priority
from rowbell.execution_default x
join rowbell.surrogate v on v.ref = x.version_ref
where (select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[]);

create or replace view rowbell.delivery with (security_barrier) as
select q.execution_id || '_' || q.action || case when q.recipient = '' then '' else '_' || q.recipient end as id,
	q.execution_id, q.action, q.kind, q."order", nullif(q.recipient, '') as recipient,
	case when q.ready_at is null or q.ready_at = 'infinity' then 'waiting'
		when q.lease_until > clock_timestamp() then 'leased' else 'ready' end as state,
	q.attempts, q.ready_at, q.lease_until, q.lease_by, q.error, q.addressed, q.committed_at,
	v.id as workflow_id, v.tenant_id,
	case when q.big_stream < 0 then -q.big_stream || '-' || q.big_lsn end as storm
from rowbell.queue q
join rowbell.surrogate v on v.ref = q.version_ref
where (select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[]);

create view rowbell.delivery_done_sole (id, execution_id, action, kind, recipient, status, reason, attempts, code, duration_ms, ended_at, committed_at, workflow_id, tenant_id, response, recipient_name, recipient_reasons) with (security_barrier) as
select x.id || '_' || x.action || coalesce('_' || nullif(x.recipient, ''), '') as id,
	x.id as execution_id, x.action, x.kind, nullif(x.recipient, '') as recipient,
	case x.status when 'success' then 'succeeded' when 'failure' then 'dead' else 'cancelled' end as status,
	x.error as reason, x.attempts, x.code, x.duration_ms, x.settled_at as ended_at, x.committed_at, v.id as workflow_id, v.tenant_id,
	x.result ->> 'response' as response, x.address ->> 'name' as recipient_name, x.address -> 'reasons' as recipient_reasons
from rowbell.execution x
join rowbell.surrogate v on v.ref = x.version_ref
where x.action is not null and ((select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[]));

create view rowbell.delivery_done_several (id, execution_id, action, kind, recipient, status, reason, attempts, code, duration_ms, ended_at, committed_at, workflow_id, tenant_id, response, recipient_name, recipient_reasons) with (security_barrier) as
select d.execution_id || '_' || d.action || case when d.recipient = '' then '' else '_' || d.recipient end,
	d.execution_id, d.action, d.kind, nullif(d.recipient, ''), d.status, d.reason, d.attempts, d.code, d.duration_ms, d.ended_at, d.committed_at, v.id, v.tenant_id,
	d.response, d.address ->> 'name', d.address -> 'reasons'
from rowbell.delivery_ended d
join rowbell.surrogate v on v.ref = d.version_ref
where (select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[]);

create or replace view rowbell.delivery_done with (security_barrier) as
select * from rowbell.delivery_done_sole
union all
select * from rowbell.delivery_done_several;

create view rowbell.delivery_attempt_retried (delivery_id, execution_id, attempt, outcome, started_at, duration_ms, code, error, response) with (security_barrier) as
select a.execution_id || '_' || a.action || case when a.recipient = '' then '' else '_' || a.recipient end as delivery_id,
	a.execution_id, a.attempt, 'retry' as outcome, a.started_at, a.duration_ms, a.code, a.error, a.response
from rowbell.attempt a
where (select rowbell.sees_all()) or exists (select from rowbell.surrogate s
	where s.ref = split_part(a.execution_id, '-', 2)::integer and s.tenant_id = any ((select rowbell.tenants())::text[]));

create or replace view rowbell.delivery_attempt with (security_barrier) as
select * from rowbell.delivery_attempt_retried
union all
select d.id, d.execution_id, d.attempts, d.status, d.ended_at - make_interval(secs => d.duration_ms / 1000.0), d.duration_ms, d.code, d.reason, d.response
from rowbell.delivery_done d
where d.attempts > 0 and d.duration_ms is not null;

create or replace view rowbell.row_history with (security_barrier) as
select coalesce(t.name, 'domain:' || e.domain) as table_name, e.row_key,
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
join rowbell.surrogate v on v.ref = x.version_ref
where (select rowbell.sees_all())
	or e.tenant_id = any ((select rowbell.tenants())::text[]) and v.tenant_id = any ((select rowbell.tenants())::text[]);

create or replace view rowbell.failing with (security_barrier) as
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
where (select rowbell.sees_all()) or v.tenant_id = any ((select rowbell.tenants())::text[])
group by v.id, v.tenant_id, f.state, f.cause;

create or replace view rowbell.endpoint with (security_barrier) as
select lpad(to_hex(lane), 16, '0') as id, tenant_id, kind, destination, state, failures, first_failure_at, opened_at, probe_at,
	disabled_at, disabled_by, disabled_reason, last_error, last_error_at, last_success_at, rate, concurrency, created_at
from rowbell.destination
where (select rowbell.sees_all()) or tenant_id = any ((select rowbell.tenants())::text[]);

comment on view rowbell.workflow_log_settled is 'Part of workflow_log: executions that have ended. Read workflow_log';
comment on view rowbell.workflow_log_queued is 'Part of workflow_log: pending executions with one delivery. Read workflow_log';
comment on view rowbell.workflow_log_open is 'Part of workflow_log: pending executions with several deliveries. Read workflow_log';
comment on view rowbell.delivery_done_sole is 'Part of delivery_done: of executions that had one. Read delivery_done';
comment on view rowbell.delivery_done_several is 'Part of delivery_done: of executions that had several. Read delivery_done';
comment on view rowbell.delivery_attempt_retried is 'Part of delivery_attempt: those after which another one was to follow. Read delivery_attempt';
-- +goose StatementBegin
do $$
declare
	c record;
begin
	for c in
		select p.part, a.attname, col_description(format('rowbell.%I', p.whole)::regclass, w.attnum) as told
		from (values ('workflow_log_settled', 'workflow_log'), ('workflow_log_queued', 'workflow_log'), ('workflow_log_open', 'workflow_log'),
			('delivery_done_sole', 'delivery_done'), ('delivery_done_several', 'delivery_done'), ('delivery_attempt_retried', 'delivery_attempt')) p (part, whole)
		join pg_attribute a on a.attrelid = format('rowbell.%I', p.part)::regclass and a.attnum > 0
		join pg_attribute w on w.attrelid = format('rowbell.%I', p.whole)::regclass and w.attname = a.attname
	loop
		execute format('comment on column rowbell.%I.%I is %L', c.part, c.attname, c.told);
	end loop;
end $$;
-- +goose StatementEnd

-- Functions with the rights of their owner ask who called them.

-- +goose StatementBegin
create or replace function rowbell.set_preference(
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
	perform rowbell.check_tenant(tenant, true);
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

-- +goose StatementBegin
create or replace function rowbell.preferences(recipient text, tenant text default '')
returns table (workflow_id text, channel text, wanted boolean, updated_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
	select rowbell.check_tenant(tenant);
	select p.workflow_id, p.channel, p.wanted, p.updated_at from rowbell.preference p
	where p.tenant_id = coalesce(tenant, '') and p.recipient_id = recipient
	order by 1, 2
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function rowbell.set_quiet_hours(
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
	perform rowbell.check_tenant(tenant, true);
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

-- +goose StatementBegin
create or replace function rowbell.clear_quiet_hours(recipient text, tenant text default '') returns integer
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
	select rowbell.check_tenant(tenant, true);
	with gone as (
		delete from rowbell.quiet_hours q where q.tenant_id = coalesce(tenant, '') and q.recipient_id = recipient returning 1
	)
	select count(*)::integer from gone
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function rowbell.quiet_hours_of(recipient text, tenant text default '')
returns table (starts time, ends time, days text[], zone text, updated_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
	select rowbell.check_tenant(tenant);
	select q.starts, q.ends, q.days, q.zone, q.updated_at from rowbell.quiet_hours q
	where q.tenant_id = coalesce(tenant, '') and q.recipient_id = recipient
	order by 1, 2, 3
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function rowbell.inbox(
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
	select rowbell.check_tenant(tenant);
	select n.id, n.tenant_id, n.title, n.body, n.link, n.created_at, n.seen_at, n.read_at, n.archived_at from rowbell.notification n
	where n.recipient_id = recipient and (tenant is null or n.tenant_id = tenant or tenant = '' and n.tenant_id is null) and (before is null or n.id < before)
		and (n.archived_at is not null) = coalesce(archived, false)
	order by n.id desc limit least(greatest(coalesce(most, 50), 1), 500)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function rowbell.inbox_count(recipient text, tenant text default null)
returns table (unread integer, unseen integer)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
	select rowbell.check_tenant(tenant);
	select count(*)::integer, (count(*) filter (where n.seen_at is null))::integer from rowbell.notification n
	where n.recipient_id = recipient and (tenant is null or n.tenant_id = tenant or tenant = '' and n.tenant_id is null) and n.read_at is null and n.archived_at is null
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function rowbell.inbox_mark(recipient text, ids text[], mark text, tenant text default null) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
	marked integer;
begin
	perform rowbell.check_tenant(tenant, true);
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

-- +goose StatementBegin
create or replace function rowbell.make_partitions(days integer) returns integer
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
				-- By itself it is nobody's but its owner's: apply_policies.
				execute format('alter table rowbell.%I enable row level security', child);
				made := made + 1;
			exception when check_violation then
				raise notice 'day % of rowbell.% stays in the DEFAULT partition, which has rows of it', day, parent;
			end;
		end loop;
	end loop;
	return made;
end $$;
-- +goose StatementEnd

select rowbell.apply_policies();
