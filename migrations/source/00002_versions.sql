-- +goose Up
-- From five tables that people edit to immutable versions. A deferred constraint trigger
-- looks, at the end of each transaction, at every workflow that it touched. It is
-- ENABLE ALWAYS, so that rows which arrive by logical replication or a restore
-- (session_replication_role = replica) are versioned too.

-- +goose StatementBegin
create function rowbell.keep_definition() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	new.name := coalesce(new.name, '');
	new.description := coalesce(new.description, '');
	new.settings := coalesce(new.settings, '{}');
	if tg_op = 'INSERT' then
		new.created_by := coalesce(nullif(current_setting('rowbell.actor', true), ''), new.created_by, session_user);
		new.created_at := coalesce(new.created_at, now());
		new.updated_at := coalesce(new.updated_at, now());
		new.version := 0;
		return new;
	end if;
	new.created_by := old.created_by;
	new.created_at := old.created_at;
	new.updated_at := now();
	if pg_trigger_depth() = 1 then -- deeper, it is the version trigger that writes
		new.version := old.version;
	end if;
	return new;
end
$$;
-- +goose StatementEnd
comment on function rowbell.keep_definition() is 'Trigger: created_by, created_at, updated_at, version, and defaults in place of null';
create trigger keep before insert or update on rowbell.workflow_definition
	for each row execute function rowbell.keep_definition();

-- +goose StatementBegin
create function rowbell.keep_identity() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	raise exception using
		errcode = 'check_violation',
		message = format('%s of workflow %s cannot be changed',
			case when new.id is distinct from old.id then 'the id' else 'the tenant' end, old.id),
		hint = 'Duplicate it instead: insert a new definition with its own id and tenant_id, and delete this one.';
end
$$;
-- +goose StatementEnd
comment on function rowbell.keep_identity() is 'Trigger: refuses to change id and tenant_id of a definition';
create trigger keep_identity before update on rowbell.workflow_definition
	for each row when (new.id is distinct from old.id or new.tenant_id is distinct from old.tenant_id)
	execute function rowbell.keep_identity();
alter table rowbell.workflow_definition enable always trigger keep_identity;

-- +goose StatementBegin
create function rowbell.keep_part() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	case tg_table_name
	when 'workflow_trigger' then
		new.field_conditions := coalesce(new.field_conditions, '{}');
		new.priority := coalesce(new.priority, 100);
	when 'workflow_condition' then
		new.condition_config := coalesce(new.condition_config, '{}');
	when 'workflow_action' then
		new.action_config := coalesce(new.action_config, '{}');
		new."order" := coalesce(new."order", 0);
	end case;
	return new;
end
$$;
-- +goose StatementEnd
comment on function rowbell.keep_part() is 'Trigger: defaults in place of null in the parts of a workflow';
create trigger keep before insert or update on rowbell.workflow_trigger
	for each row execute function rowbell.keep_part();
create trigger keep before insert or update on rowbell.workflow_condition
	for each row execute function rowbell.keep_part();
create trigger keep before insert or update on rowbell.workflow_action
	for each row execute function rowbell.keep_part();

-- +goose StatementBegin
create function rowbell.move_secrets(config jsonb, tenant_id text, workflow_id text, action_id text) returns jsonb
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
		if jsonb_typeof(v) in ('object', 'array') then
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
comment on function rowbell.move_secrets(jsonb, text, text, text) is 'Moves strings under keys secret, password and token, at any depth, into table secret; returns the configuration with {"ref": name} in their places';

-- +goose StatementBegin
create function rowbell.version_workflow(w text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	d rowbell.workflow_definition;
	last rowbell.workflow_version;
	a record;
	config jsonb;
	doc jsonb;
	n integer;
	who constant text := coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user);
begin
	-- Whoever edits the same workflow at the same time waits here, and every statement
	-- below sees what was committed meanwhile. The lock does not conflict with the key
	-- share locks of foreign keys, so that no two editors wait for each other.
	select * into d from rowbell.workflow_definition where id = w for no key update;
	if not found then
		d := null;
	end if;
	select * into last from rowbell.workflow_version where workflow_id = w order by version desc limit 1;
	n := coalesce(last.version, 0) + 1;
	if d.id is null then
		if last.status <> 'deleted' then
			insert into rowbell.workflow_version (workflow_id, version, tenant_id, status, document, created_by)
			values (w, n, last.tenant_id, 'deleted', null, who);
			perform pg_notify('rowbell_status', w);
		end if;
		return;
	end if;

	for a in
		select id, action_config from rowbell.workflow_action
		where workflow_id = w and action_config::text ~* '"(secret|password|token)": "'
		for no key update
	loop
		config := rowbell.move_secrets(a.action_config, d.tenant_id, w, a.id);
		if config <> a.action_config then
			update rowbell.workflow_action set action_config = config where id = a.id;
		end if;
	end loop;

	doc := jsonb_build_object(
		'id', d.id,
		'tenant_id', d.tenant_id,
		'name', d.name,
		'description', d.description,
		'status', d.status,
		'settings', d.settings,
		'triggers', (
			select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'entity_type', t.entity_type, 'operation', t.operation,
				'field_conditions', t.field_conditions, 'priority', t.priority) order by t.priority, t.id collate "C"), '[]')
			from rowbell.workflow_trigger t where t.workflow_id = w),
		'conditions', (
			select coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'condition_type', c.condition_type,
				'condition_config', c.condition_config) order by c.id collate "C"), '[]')
			from rowbell.workflow_condition c where c.workflow_id = w),
		'actions', (
			select coalesce(jsonb_agg(jsonb_build_object('id', x.id, 'action_type', x.action_type,
				'action_config', x.action_config, 'order', x."order") order by x."order", x.id collate "C"), '[]')
			from rowbell.workflow_action x where x.workflow_id = w),
		'recipients', (
			select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'action_id', r.action_id, 'recipient_type', r.recipient_type,
				'recipient_id', r.recipient_id) order by r.id collate "C"), '[]')
			from rowbell.workflow_recipient r where r.workflow_id = w));
	if octet_length(doc::text) > 1048576 then
		raise exception using
			errcode = 'program_limit_exceeded',
			message = format('workflow %s is %s bytes long as a document, more than 1048576', w, octet_length(doc::text)),
			hint = 'Shorten its conditions and action_config, or split it.';
	end if;

	-- Without this comparison each row of a workflow would write a version of its own, and
	-- the updates of actions above would queue this trigger for ever.
	if last.version is not null and last.document is not distinct from doc
		and last.status = d.status and last.tenant_id is not distinct from d.tenant_id then
		n := last.version;
	else
		insert into rowbell.workflow_version (workflow_id, version, tenant_id, status, document, created_by)
		values (w, n, d.tenant_id, d.status, doc, who);
		if last.status is distinct from d.status then
			perform pg_notify('rowbell_status', w);
		end if;
	end if;
	if d.version <> n then
		update rowbell.workflow_definition set version = n where id = w;
	end if;
end
$$;
-- +goose StatementEnd
comment on function rowbell.version_workflow(text) is 'Writes a version of one workflow if it differs from its latest';

-- +goose StatementBegin
create function rowbell.version_touched() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	was text;
	is_now text;
begin
	if tg_table_name = 'workflow_definition' then
		if tg_op <> 'INSERT' then was := old.id; end if;
		if tg_op <> 'DELETE' then is_now := new.id; end if;
	else
		if tg_op <> 'INSERT' then was := old.workflow_id; end if;
		if tg_op <> 'DELETE' then is_now := new.workflow_id; end if;
	end if;
	if was is not null then
		perform rowbell.version_workflow(was);
	end if;
	if is_now is distinct from was and is_now is not null then
		perform rowbell.version_workflow(is_now);
	end if;
	return null;
end
$$;
-- +goose StatementEnd
comment on function rowbell.version_touched() is 'Trigger: writes versions of the workflows that a changed row belonged and belongs to';

-- +goose StatementBegin
create function rowbell.version_all() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	w text;
begin
	for w in select distinct workflow_id from rowbell.workflow_version order by 1 loop
		perform rowbell.version_workflow(w);
	end loop;
	return null;
end
$$;
-- +goose StatementEnd
comment on function rowbell.version_all() is 'Trigger: writes versions of all workflows that a TRUNCATE changed';

create constraint trigger version after insert or delete on rowbell.workflow_definition
	deferrable initially deferred for each row execute function rowbell.version_touched();
-- Edits of the draft, and the number that the version trigger writes, are not even queued.
create constraint trigger version_update after update on rowbell.workflow_definition
	deferrable initially deferred for each row
	when ((old.id, old.tenant_id, old.name, old.description, old.status, old.settings)
		is distinct from (new.id, new.tenant_id, new.name, new.description, new.status, new.settings))
	execute function rowbell.version_touched();
create constraint trigger version after insert or update or delete on rowbell.workflow_trigger
	deferrable initially deferred for each row execute function rowbell.version_touched();
create constraint trigger version after insert or update or delete on rowbell.workflow_condition
	deferrable initially deferred for each row execute function rowbell.version_touched();
create constraint trigger version after insert or update or delete on rowbell.workflow_action
	deferrable initially deferred for each row execute function rowbell.version_touched();
create constraint trigger version after insert or update or delete on rowbell.workflow_recipient
	deferrable initially deferred for each row execute function rowbell.version_touched();
create trigger version_truncate after truncate on rowbell.workflow_definition
	for each statement execute function rowbell.version_all();
create trigger version_truncate after truncate on rowbell.workflow_trigger
	for each statement execute function rowbell.version_all();
create trigger version_truncate after truncate on rowbell.workflow_condition
	for each statement execute function rowbell.version_all();
create trigger version_truncate after truncate on rowbell.workflow_action
	for each statement execute function rowbell.version_all();
create trigger version_truncate after truncate on rowbell.workflow_recipient
	for each statement execute function rowbell.version_all();
alter table rowbell.workflow_definition enable always trigger version, enable always trigger version_update, enable always trigger version_truncate;
alter table rowbell.workflow_trigger enable always trigger version, enable always trigger version_truncate;
alter table rowbell.workflow_condition enable always trigger version, enable always trigger version_truncate;
alter table rowbell.workflow_action enable always trigger version, enable always trigger version_truncate;
alter table rowbell.workflow_recipient enable always trigger version, enable always trigger version_truncate;

-- +goose StatementBegin
create function rowbell.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	raise exception using
		errcode = 'object_not_in_prerequisite_state',
		message = format('%s of rowbell.%s refused: the table is insert-only, because workers read its rows again after a restart', tg_op, tg_table_name),
		hint = case tg_table_name
			when 'workflow_version' then 'Edit or delete the workflow in rowbell.workflow_definition: that writes a new version.'
			else 'Call rowbell.capture or rowbell.release: that writes a new row.'
		end || ' To remove Rowbell altogether: rowbell uninstall.';
end
$$;
-- +goose StatementEnd
comment on function rowbell.refuse_change() is 'Trigger: refuses UPDATE, DELETE and TRUNCATE of an insert-only table';
create trigger insert_only before update or delete on rowbell.workflow_version
	for each row execute function rowbell.refuse_change();
create trigger insert_only_truncate before truncate on rowbell.workflow_version
	for each statement execute function rowbell.refuse_change();
create trigger insert_only before update or delete on rowbell.captured_table
	for each row execute function rowbell.refuse_change();
create trigger insert_only_truncate before truncate on rowbell.captured_table
	for each statement execute function rowbell.refuse_change();
alter table rowbell.workflow_version enable always trigger insert_only, enable always trigger insert_only_truncate;
alter table rowbell.captured_table enable always trigger insert_only, enable always trigger insert_only_truncate;

revoke execute on function rowbell.move_secrets(jsonb, text, text, text) from public;
revoke execute on function rowbell.version_workflow(text) from public;
-- Triggers fire without EXECUTE; nobody is to put these on tables of their own.
revoke execute on function rowbell.version_touched() from public;
revoke execute on function rowbell.version_all() from public;
