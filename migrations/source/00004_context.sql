-- +goose Up
-- What an application can tell Rowbell inside its transactions. Both functions send
-- transactional logical messages, which reach the worker in order with the rows and not
-- at all if the transaction (or the savepoint) rolls back. They are SECURITY DEFINER so
-- that EXECUTE on pg_logical_emit_message, which sends any prefix, can be revoked from
-- PUBLIC; and session_user is in each message, since nobody can forge it.

-- +goose StatementBegin
create function rowbell.emit(name text, payload jsonb default '{}', tenant text default null) returns void
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
	perform pg_logical_emit_message(true, 'rowbell.event', jsonb_build_object(
		'name', name,
		'payload', coalesce(payload, '{}'),
		'tenant', nullif(tenant, ''),
		'session_user', session_user
	)::text);
end
$$;
-- +goose StatementEnd
comment on function rowbell.emit(text, jsonb, text) is 'Sends a domain event with this transaction; triggers with entity_type domain:<name> match it';

-- +goose StatementBegin
create function rowbell.set_actor(
	id text,
	roles text[] default '{}',
	request_id text default null,
	chain text[] default '{}',
	skip boolean default false
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	content constant text := jsonb_build_object(
		'id', id,
		'roles', to_jsonb(coalesce(roles, '{}')),
		'request_id', request_id,
		'chain', to_jsonb(coalesce(chain, '{}')),
		'skip', coalesce(skip, false),
		'session_user', session_user
	)::text;
begin
	if octet_length(content) > 65536 then
		raise exception using errcode = 'program_limit_exceeded',
			message = format('the context has %s bytes, more than 65536', octet_length(content)),
			hint = 'Give fewer roles, or a shorter chain.';
	end if;
	-- For created_by of what this transaction writes into Rowbell's tables.
	perform set_config('rowbell.actor', coalesce(id, ''), true);
	perform pg_logical_emit_message(true, 'rowbell.context', content);
end
$$;
-- +goose StatementEnd
comment on function rowbell.set_actor(text, text[], text, text[], boolean) is 'Says on whose behalf this transaction acts: actor, roles, request id, the chain of executions that led here, and skip => true for imports that no workflow should see. Call it before the first change';

revoke execute on function rowbell.emit(text, jsonb, text) from public;
revoke execute on function rowbell.set_actor(text, text[], text, text[], boolean) from public;
