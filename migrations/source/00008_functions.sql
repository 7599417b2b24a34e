-- +goose Up
-- Functions of the application that actions of kind function may call. A call runs in the
-- transaction that records the delivery's outcome, with the rights of the worker's role, so
-- who registers one decides what workflows can do: only members of the role that owns the
-- schema, and of rowbell_operator where there is such a role.

create table rowbell.function (
	name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$'),
	tenant_id text check (tenant_id <> ''),
	function text not null,
	timeout interval not null default '5 s' check (timeout between interval '100 ms' and interval '30 s'),
	description text not null default '' check (char_length(description) <= 1000),
	created_by text not null,
	created_at timestamptz not null default now()
);
create unique index function_name on rowbell.function (name, coalesce(tenant_id, ''));

comment on table rowbell.function is 'Functions that actions of kind function may call. Written by rowbell.register_function and rowbell.unregister_function';
comment on column rowbell.function.name is 'What action_config calls it';
comment on column rowbell.function.tenant_id is 'Whose workflows may call it; null: all';
comment on column rowbell.function.function is 'Schema and name, quoted as SQL needs it; its arguments are (text, jsonb)';
comment on column rowbell.function.timeout is 'How long a call may take';
comment on column rowbell.function.description is 'What it does, for those who write workflows';
comment on column rowbell.function.created_by is 'Who registered it last';
comment on column rowbell.function.created_at is 'When it was registered last';

-- +goose StatementBegin
create function rowbell.check_operator() returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
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
comment on function rowbell.check_operator() is 'Raises an error unless the session''s user is a member of the schema''s owner or of rowbell_operator';

-- +goose StatementBegin
create function rowbell.register_function(name text, signature text, tenant text default null, timeout interval default '5 s', description text default '')
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
	oid_of oid;
	p record;
	problem text;
begin
	perform rowbell.check_operator();
	if register_function.name is null or register_function.name !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('%s can''t be the name that workflows call a function by', coalesce(quote_literal(left(register_function.name, 80)), 'null')),
			hint = 'Use 1 to 63 letters, digits, dots, dashes and underscores.';
	end if;
	if register_function.timeout is null or register_function.timeout not between interval '100 ms' and interval '30 s' then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('a timeout of %s is out of range', coalesce(register_function.timeout::text, 'null')),
			hint = 'Use 100 ms to 30 s: while a call runs it holds locks of the application''s tables.';
	end if;
	begin
		oid_of := register_function.signature::regprocedure;
	exception when others then
		oid_of := null;
	end;
	if oid_of is null then
		raise exception using errcode = 'undefined_function',
			message = format('there is no function %s', coalesce(quote_literal(left(register_function.signature, 200)), 'null')),
			hint = 'Write schema, name and argument types: SELECT rowbell.register_function(''credit_order'', ''app.credit_order(text,jsonb)'');';
	end if;
	select f.prokind, f.proretset, f.pronargs, f.proargtypes, f.provariadic, f.prorettype, f.proname, n.nspname, f.pronamespace into p
	from pg_proc f join pg_namespace n on n.oid = f.pronamespace where f.oid = oid_of;
	problem := case
		when p.nspname in ('rowbell', 'information_schema') or p.nspname like 'pg\_%' then format('it is in schema %s; register one of the application''s', p.nspname)
		when p.prokind <> 'f' then 'it is no plain function; a procedure, aggregate or window function can''t be called in the outcome''s transaction'
		when p.pronargs <> 2 or p.proargtypes[0] <> 'text'::regtype or p.proargtypes[1] <> 'jsonb'::regtype or p.provariadic <> 0
			then 'its arguments must be (text, jsonb): the key that is the same for all attempts, and what happened'
		when p.proretset or p.prorettype not in ('jsonb'::regtype, 'void'::regtype) then 'it must return jsonb or void'
		when not has_function_privilege(session_user, oid_of, 'execute') then format('%s may not execute it itself', session_user)
	end;
	if problem is not null then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('function %s can''t be registered: %s', oid_of::regprocedure, problem),
			hint = 'CREATE FUNCTION app.credit_order(key text, payload jsonb) RETURNS jsonb …';
	end if;
	insert into rowbell.function as f (name, tenant_id, function, timeout, description, created_by)
	values (register_function.name, nullif(register_function.tenant, ''), format('%I.%I', p.nspname, p.proname), register_function.timeout,
		coalesce(register_function.description, ''), coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user))
	on conflict (name, coalesce(tenant_id, '')) do update
	set function = excluded.function, timeout = excluded.timeout, description = excluded.description, created_by = excluded.created_by, created_at = now();
	insert into rowbell.audit_log (tenant_id, action, object_type, object_id, detail)
	values (nullif(register_function.tenant, ''), 'function.register', 'function', register_function.name,
		jsonb_build_object('function', format('%I.%I(text,jsonb)', p.nspname, p.proname), 'timeout', register_function.timeout::text));
	return format('%I.%I(text,jsonb)', p.nspname, p.proname);
end
$$;
-- +goose StatementEnd
comment on function rowbell.register_function(text, text, text, interval, text) is 'Lets actions of kind function call a function (key text, payload jsonb) that returns jsonb or void, by a name; of one tenant, or of all. A name that is there is replaced. Returns what it found. For operators';

-- +goose StatementBegin
create function rowbell.unregister_function(name text, tenant text default null) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
	gone boolean;
begin
	perform rowbell.check_operator();
	delete from rowbell.function f where f.name = unregister_function.name and f.tenant_id is not distinct from nullif(unregister_function.tenant, '');
	gone := found;
	if gone then
		insert into rowbell.audit_log (tenant_id, action, object_type, object_id)
		values (nullif(unregister_function.tenant, ''), 'function.unregister', 'function', unregister_function.name);
	end if;
	return gone;
end
$$;
-- +goose StatementEnd
comment on function rowbell.unregister_function(text, text) is 'Takes a name from those that actions may call. Returns whether it was there. Deliveries that are waiting fail, and are tried again. For operators';

-- Who may call them, they find out themselves: EXECUTE alone gives nothing.
revoke execute on function rowbell.check_operator() from public;
