-- +goose Up
-- An action's own conditions stand under only_if in its action_config. Keys in them are columns,
-- whatever these are called, and no secrets. What bears that name further in is no such list.

-- +goose StatementBegin
create function rowbell.move_all_secrets(config jsonb, tenant_id text, workflow_id text, action_id text) returns jsonb
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
					rowbell.move_all_secrets(config -> i, move_all_secrets.tenant_id, move_all_secrets.workflow_id, move_all_secrets.action_id));
			end if;
		end loop;
		return result;
	end if;
	for k, v in select e.key, e.value from jsonb_each(config) e loop
		if jsonb_typeof(v) in ('object', 'array') then
			result := jsonb_set(result, array[k],
				rowbell.move_all_secrets(v, move_all_secrets.tenant_id, move_all_secrets.workflow_id, move_all_secrets.action_id));
		elsif lower(k) in ('secret', 'password', 'token') and jsonb_typeof(v) = 'string' and v <> '""' then
			insert into rowbell.secret as s (tenant_id, plain, workflow_id, action_id)
			values (move_all_secrets.tenant_id, v #>> '{}', move_all_secrets.workflow_id, move_all_secrets.action_id)
			returning s.name into ref;
			result := jsonb_set(result, array[k], jsonb_build_object('ref', ref));
		end if;
	end loop;
	return result;
end
$$;
-- +goose StatementEnd
comment on function rowbell.move_all_secrets(jsonb, text, text, text) is 'Moves strings under keys secret, password and token, at any depth, into table secret; returns the JSON with {"ref": name} in their places';
revoke execute on function rowbell.move_all_secrets(jsonb, text, text, text) from public;

-- +goose StatementBegin
create or replace function rowbell.move_secrets(config jsonb, tenant_id text, workflow_id text, action_id text) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if jsonb_typeof(config) = 'object' and jsonb_typeof(config -> 'only_if') = 'array' then
		return rowbell.move_all_secrets(config - 'only_if', move_secrets.tenant_id, move_secrets.workflow_id, move_secrets.action_id)
			|| jsonb_build_object('only_if', config -> 'only_if');
	end if;
	return rowbell.move_all_secrets(config, move_secrets.tenant_id, move_secrets.workflow_id, move_secrets.action_id);
end
$$;
-- +goose StatementEnd
comment on function rowbell.move_secrets(jsonb, text, text, text) is 'Moves strings under keys secret, password and token of an action_config, at any depth but in its only_if, where keys are columns, into table secret; returns the configuration with {"ref": name} in their places';

-- +goose StatementBegin
create or replace function rowbell.move_draft_secrets() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	plain jsonb := new.draft;
	own jsonb := '{}'; -- the only_if of actions, by their places
	place text;
	list jsonb;
begin
	-- In triggers, conditions and actions' own conditions such keys are columns, and stay.
	if jsonb_typeof(plain -> 'actions') = 'array' then
		for i in 0 .. jsonb_array_length(plain -> 'actions') - 1 loop
			list := plain #> array['actions', i::text, 'action_config', 'only_if'];
			if jsonb_typeof(plain #> array['actions', i::text, 'action_config']) = 'object' and jsonb_typeof(list) = 'array' then
				own := own || jsonb_build_object(i::text, list);
				plain := plain #- array['actions', i::text, 'action_config', 'only_if'];
			end if;
		end loop;
	end if;
	plain := rowbell.move_all_secrets(plain - '{triggers,conditions}'::text[], new.tenant_id, new.id, null);
	for place, list in select e.key, e.value from jsonb_each(own) e loop
		plain := jsonb_set(plain, array['actions', place, 'action_config', 'only_if'], list);
	end loop;
	new.draft := plain
		|| (select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(new.draft) e where e.key in ('triggers', 'conditions'));
	return new;
end
$$;
-- +goose StatementEnd
