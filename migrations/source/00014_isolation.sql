-- +goose Up
-- Row-level security: who isn't the owner of a table sees and edits rows of their own
-- tenants only, whatever they ask, and whatever an error in Rowbell's own code would ask
-- for them.
--
-- There are three sorts of roles. Owners of the schema or of the log (the worker, and
-- functions with the rights of their owner) have a policy that is always true. rowbell_api,
-- which Rowbell takes on for a request of one tenant, sees that tenant: the transaction's
-- setting rowbell.tenant. Everybody else sees what rowbell.sql_member gives to their
-- session's user.

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

comment on table rowbell.sql_member is 'Which tenants'' rows database roles see and edit by SQL, beside what they are granted. Of who owns the tables nothing is asked';
comment on column rowbell.sql_member.role_name is 'The role that somebody logs in as (session_user)';
comment on column rowbell.sql_member.tenant_id is 'The tenant; * for all tenants and the operators'' own rows';
comment on column rowbell.sql_member.access is 'view: sees; edit: sees and writes, where it is granted';

-- A worker that isn't the owner has to see all: a definition that it can't see is a deleted
-- one to it. It is who may write workflow_health.
insert into rowbell.sql_member (role_name, tenant_id)
select distinct pg_get_userbyid(a.grantee), '*'
from pg_class c, aclexplode(c.relacl) a
where c.oid = 'rowbell.workflow_health'::regclass and a.privilege_type = 'INSERT' and a.grantee not in (0, c.relowner)
on conflict do nothing;

create trigger editor before insert or update or delete on rowbell.workflow_definition for each statement execute function rowbell.check_editor();
create trigger editor before insert or update or delete on rowbell.workflow_trigger for each statement execute function rowbell.check_editor();
create trigger editor before insert or update or delete on rowbell.workflow_condition for each statement execute function rowbell.check_editor();
create trigger editor before insert or update or delete on rowbell.workflow_action for each statement execute function rowbell.check_editor();
create trigger editor before insert or update or delete on rowbell.workflow_recipient for each statement execute function rowbell.check_editor();
create trigger editor before insert or update or delete on rowbell.template for each statement execute function rowbell.check_editor();
create trigger editor before insert or update or delete on rowbell.secret for each statement execute function rowbell.check_editor();

-- Functions with the rights of their owner ask who called them.

-- +goose StatementBegin
create or replace function rowbell.check_operator() returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
	if current_setting('role', true) = 'rowbell_api' then
		raise exception using errcode = 'insufficient_privilege', message = 'rowbell_api acts for a tenant, which is no operator of Rowbell';
	end if;
	if not pg_has_role(session_user, (select nspowner from pg_namespace where nspname = 'rowbell'), 'usage')
		and not (to_regrole('rowbell_operator') is not null and pg_has_role(session_user, to_regrole('rowbell_operator'), 'usage'))
	then
		raise exception using
			errcode = 'insufficient_privilege',
			message = format('%s is no operator of Rowbell', session_user),
			hint = case when to_regrole('rowbell_operator') is null then 'CREATE ROLE rowbell_operator NOLOGIN; GRANT USAGE ON SCHEMA rowbell TO rowbell_operator; ' else '' end
				|| format('GRANT rowbell_operator TO %I;', session_user);
	end if;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function rowbell.emit(name text, payload jsonb default '{}', tenant text default null) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
	if name is null or char_length(name) not between 1 and 200 then
		raise exception using errcode = 'invalid_parameter_value',
			message = 'a domain event needs a name of 1 to 200 characters',
			hint = 'SELECT rowbell.emit(''order.shipped'', ''{"order_id": 42}'');';
	end if;
	if payload is not null and jsonb_typeof(payload) <> 'object' then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('the payload of domain event %s must be a JSON object, not %s', name, jsonb_typeof(payload));
	end if;
	if octet_length(payload::text) > 1048576 then
		raise exception using errcode = 'program_limit_exceeded',
			message = format('the payload of domain event %s has %s bytes, more than 1048576', name, octet_length(payload::text)),
			hint = 'Send the key of a row instead.';
	end if;
	perform rowbell.check_tenant(tenant, true);
	perform pg_logical_emit_message(true, 'rowbell.event', jsonb_build_object(
		'name', name,
		'payload', coalesce(payload, '{}'),
		'tenant', nullif(tenant, ''),
		'session_user', session_user
	)::text);
end
$$;
-- +goose StatementEnd

select rowbell.apply_policies();
