-- +goose Up
-- rowbell.set_actor takes attributes of the actor, for conditions such as "the actor's
-- level is at least 3". PostgreSQL can't add a parameter to a function, so there is a new
-- one, which takes over who may execute it; calls with the arguments of before, by
-- position or by name, mean the same.

-- +goose StatementBegin
create function rowbell.set_actor(
	id text,
	roles text[] default '{}',
	request_id text default null,
	chain text[] default '{}',
	skip boolean default false,
	attributes jsonb default '{}'
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	content text;
begin
	if attributes is not null and jsonb_typeof(attributes) <> 'object' then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('the attributes of an actor must be a JSON object, not %s', jsonb_typeof(attributes)),
			hint = 'SELECT rowbell.set_actor(''ann'', ''{approver}'', attributes => ''{"level": 3}'');';
	end if;
	content := jsonb_build_object(
		'id', id,
		'roles', to_jsonb(coalesce(roles, '{}')),
		'attributes', coalesce(attributes, '{}'),
		'request_id', request_id,
		'chain', to_jsonb(coalesce(chain, '{}')),
		'skip', coalesce(skip, false),
		'session_user', session_user
	)::text;
	if octet_length(content) > 65536 then
		raise exception using errcode = 'program_limit_exceeded',
			message = format('the context has %s bytes, more than 65536', octet_length(content)),
			hint = 'Give fewer roles or attributes, or a shorter chain.';
	end if;
	-- For created_by of what this transaction writes into Rowbell's tables.
	perform set_config('rowbell.actor', coalesce(id, ''), true);
	perform pg_logical_emit_message(true, 'rowbell.context', content);
end
$$;
-- +goose StatementEnd
comment on function rowbell.set_actor(text, text[], text, text[], boolean, jsonb) is 'Says on whose behalf this transaction acts: actor, roles, request id, the chain of executions that led here, skip => true for imports that no workflow should see, and attributes, a JSON object that conditions can read. Call it before the first change';
revoke execute on function rowbell.set_actor(text, text[], text, text[], boolean, jsonb) from public;

-- +goose StatementBegin
do $$
declare
	given record;
begin
	for given in
		select case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as name, bool_or(a.is_grantable) as on_and_on
		from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
		where p.oid = 'rowbell.set_actor(text, text[], text, text[], boolean)'::regprocedure and a.privilege_type = 'EXECUTE' and a.grantee <> p.proowner
		group by 1
	loop
		execute format('grant execute on function rowbell.set_actor(text, text[], text, text[], boolean, jsonb) to %s%s',
			given.name, case when given.on_and_on then ' with grant option' else '' end);
	end loop;
end
$$;
-- +goose StatementEnd
drop function rowbell.set_actor(text, text[], text, text[], boolean);
