-- +goose Up
-- An action's own conditions stand under only_if in its action_config. Keys in them are columns,
-- whatever these are called, and no secrets.

-- +goose StatementBegin
create or replace function rowbell.move_secrets(config jsonb, tenant_id text, workflow_id text, action_id text) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	result jsonb := config;
	k text;
	v jsonb;
	ref text;
begin
	if jsonb_typeof(config) = 'array' then
		for i in 0 .. jsonb_array_length(config) - 1 loop
			if jsonb_typeof(config -> i) in ('object', 'array') then
				result := jsonb_set(result, array[i::text],
					rowbell.move_secrets(config -> i, move_secrets.tenant_id, move_secrets.workflow_id, move_secrets.action_id));
			end if;
		end loop;
		return result;
	end if;
	for k, v in select e.key, e.value from jsonb_each(config) e loop
		if k = 'only_if' and jsonb_typeof(v) = 'array' then
			continue;
		elsif jsonb_typeof(v) in ('object', 'array') then
			result := jsonb_set(result, array[k],
				rowbell.move_secrets(v, move_secrets.tenant_id, move_secrets.workflow_id, move_secrets.action_id));
		elsif lower(k) in ('secret', 'password', 'token') and jsonb_typeof(v) = 'string' and v <> '""' then
			insert into rowbell.secret as s (tenant_id, plain, workflow_id, action_id)
			values (move_secrets.tenant_id, v #>> '{}', move_secrets.workflow_id, move_secrets.action_id)
			returning s.name into ref;
			result := jsonb_set(result, array[k], jsonb_build_object('ref', ref));
		end if;
	end loop;
	return result;
end
$$;
-- +goose StatementEnd
comment on function rowbell.move_secrets(jsonb, text, text, text) is 'Moves strings under keys secret, password and token, at any depth but in only_if, where keys are columns, into table secret; returns the configuration with {"ref": name} in their places';
