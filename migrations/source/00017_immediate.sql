-- +goose Up
-- A workflow that is made with a plain secret in a transaction that has set its constraints
-- immediate gets one version, and not the same one twice.

-- +goose StatementBegin
create or replace function rowbell.version_workflow(w text) returns void
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
	names text[];
	templates jsonb;
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
	-- Where triggers fire at once, as in a transaction that has set its constraints immediate,
	-- the updates above have written the version already.
	select * into last from rowbell.workflow_version where workflow_id = w order by version desc limit 1;
	n := coalesce(last.version, 0) + 1;

	select array_agg(distinct r) into names
	from rowbell.workflow_action x, rowbell.named_in_config(x.action_config) r where x.workflow_id = w;
	if names is not null then
		-- Whoever is changing templates commits first, and the next statement sees it.
		perform pg_advisory_xact_lock_shared(rowbell.template_key(null));
		if d.tenant_id is not null then
			perform pg_advisory_xact_lock_shared(rowbell.template_key(d.tenant_id));
		end if;
		templates := rowbell.templates_of(names, d.tenant_id);
	end if;

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
	-- Without any there is no key, so that versions from before templates stay the latest.
	if templates is not null then
		doc := doc || jsonb_build_object('templates', templates);
	end if;
	if octet_length(doc::text) > 1048576 then
		raise exception using
			errcode = 'program_limit_exceeded',
			message = format('workflow %s is %s bytes long as a document, more than 1048576', w, octet_length(doc::text)),
			hint = 'Shorten its conditions and action_config, and the templates that it renders, or split it.';
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
