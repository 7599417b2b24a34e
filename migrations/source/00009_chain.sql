-- +goose Up
-- rowbell.set_chain says that what this transaction changes comes of a workflow: whatever
-- an action was told as its chain is handed back here. Without it a workflow whose effect
-- sets it off again goes round for ever; with it Rowbell counts, and stops.

-- +goose StatementBegin
create function rowbell.set_chain(id text, depth integer, workflows text[] default '{}') returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
	if id is null or char_length(id) not between 1 and 64 then
		raise exception using errcode = 'invalid_parameter_value',
			message = 'a chain needs an id of 1 to 64 characters',
			hint = 'Hand on what the action was given: SELECT rowbell.set_chain(''{"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "depth": 1}'');';
	end if;
	if depth is null or depth not between 1 and 1000000 then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('the depth of a chain is 1 to 1000000, not %s', coalesce(depth::text, 'null')),
			hint = 'Hand on what the action was given, without adding to it: Rowbell counts.';
	end if;
	if exists (select from unnest(workflows) w where w is null or char_length(w) not between 1 and 64) then
		raise exception using errcode = 'invalid_parameter_value',
			message = 'the workflows of a chain are ids of 1 to 64 characters',
			hint = 'Hand on what the action was given, as it is: SELECT rowbell.set_chain(''{"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "depth": 1, "workflows": ["order-paid"]}'');';
	end if;
	perform pg_logical_emit_message(true, 'rowbell.chain', jsonb_build_object(
		'id', id,
		'depth', depth,
		'workflows', to_jsonb((coalesce(workflows, '{}'))[greatest(coalesce(array_length(workflows, 1), 0) - 9, 1):])
	)::text);
end
$$;
-- +goose StatementEnd
comment on function rowbell.set_chain(text, integer, text[]) is 'Says which chain of executions led to this transaction: what an action was given as chain, as it is. Call it before the first change';

-- +goose StatementBegin
create function rowbell.set_chain(chain jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
	if chain is null or jsonb_typeof(chain) = 'null' then
		return; -- it comes of no workflow
	end if;
	if jsonb_typeof(chain) <> 'object' or coalesce(jsonb_typeof(chain -> 'depth'), '') <> 'number' or jsonb_typeof(chain -> 'workflows') <> 'array' then
		raise exception using errcode = 'invalid_parameter_value',
			message = 'a chain is a JSON object with id and depth',
			hint = 'Hand on what the action was given: SELECT rowbell.set_chain(''{"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "depth": 1}'');';
	end if;
	perform rowbell.set_chain(chain ->> 'id', least((chain ->> 'depth')::numeric, 2000000)::integer,
		array(select jsonb_array_elements_text(chain -> 'workflows')));
end
$$;
-- +goose StatementEnd
comment on function rowbell.set_chain(jsonb) is 'The same, with what an action was given as chain in one piece: a webhook''s data.chain. Null does nothing';

revoke execute on function rowbell.set_chain(text, integer, text[]) from public;
revoke execute on function rowbell.set_chain(jsonb) from public;

-- Who may say who acts may say this.
-- +goose StatementBegin
do $$
declare
	given record;
	signature text;
begin
	for given in
		select case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as name, bool_or(a.is_grantable) as on_and_on
		from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
		where p.oid = 'rowbell.set_actor(text, text[], text, text[], boolean, jsonb)'::regprocedure and a.privilege_type = 'EXECUTE' and a.grantee <> p.proowner
		group by 1
	loop
		foreach signature in array array['text, integer, text[]', 'jsonb'] loop
			execute format('grant execute on function rowbell.set_chain(%s) to %s%s',
				signature, given.name, case when given.on_and_on then ' with grant option' else '' end);
		end loop;
	end loop;
end
$$;
-- +goose StatementEnd
