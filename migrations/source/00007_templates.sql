-- +goose Up
-- Texts that the actions of many workflows share. A version's document holds those that
-- it renders, as they were, so that which text applied to an event is a fact of the WAL;
-- and a changed template writes new versions of the active workflows that use it.

create table rowbell.template (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	tenant_id text
		constraint tenant_id_must_have_1_to_200_characters_null_means_operators check (char_length(tenant_id) between 1 and 200),
	name text not null
		constraint name_must_have_1_to_64_letters_digits_or_underline_dash_slash check (name ~ '^[[:alnum:]_/-]{1,64}$'),
	locale text not null default ''
		constraint locale_must_be_as_de_or_de_at_or_empty check (locale = '' or locale ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$'),
	source text not null
		constraint source_must_have_at_most_65536_bytes check (octet_length(source) <= 65536),
	description text not null default '',
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	updated_at timestamptz not null default now()
);
create unique index template_is_there_for_this_tenant_name_and_locale on rowbell.template (coalesce(tenant_id, ''), name, lower(locale));
comment on table rowbell.template is 'Liquid templates that the texts of actions render by name, as {% render ''footer'' %}. One of a tenant goes before the operators'' one of the same name';
comment on column rowbell.template.id is 'A ULID if not given';
comment on column rowbell.template.tenant_id is 'The tenant whose workflows may render it; null for the operators'' templates, which those of all tenants may';
comment on column rowbell.template.name is 'What {% render %} says';
comment on column rowbell.template.locale is 'The language it is written in, as de or de-AT; empty for readers of every language that has no row of its own';
comment on column rowbell.template.source is 'The template, in Liquid: see docs/templates.md';
comment on column rowbell.template.description is 'What it is for';
comment on column rowbell.template.created_by is 'Who made it: the actor of the transaction (rowbell.set_actor), else the database user';
comment on column rowbell.template.updated_at is 'When it last changed; kept by trigger';

-- +goose StatementBegin
create function rowbell.template_key(tenant_id text) returns bigint
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select hashtextextended('rowbell.template:' || coalesce(tenant_id, ''), 0) $$;
-- +goose StatementEnd
comment on function rowbell.template_key(text) is 'The advisory lock of a tenant''s templates: who changes them holds it alone, who writes a version that renders any shares it, so that neither misses what the other commits';

-- +goose StatementBegin
create function rowbell.keep_template() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	-- The operators' key first, as whoever writes a version takes them.
	if tg_op <> 'INSERT' and old.tenant_id is not null or tg_op <> 'DELETE' and new.tenant_id is not null then
		perform pg_advisory_xact_lock_shared(rowbell.template_key(null));
	end if;
	if tg_op <> 'INSERT' then
		perform pg_advisory_xact_lock(rowbell.template_key(old.tenant_id));
	end if;
	if tg_op = 'DELETE' then
		return old;
	end if;
	if tg_op = 'INSERT' or new.tenant_id is distinct from old.tenant_id then
		perform pg_advisory_xact_lock(rowbell.template_key(new.tenant_id));
	end if;
	new.locale := coalesce(new.locale, '');
	new.description := coalesce(new.description, '');
	if tg_op = 'INSERT' then
		new.created_by := coalesce(nullif(current_setting('rowbell.actor', true), ''), new.created_by, session_user);
		new.updated_at := coalesce(new.updated_at, now());
	else
		new.created_by := old.created_by;
		new.updated_at := now();
	end if;
	return new;
end
$$;
-- +goose StatementEnd
comment on function rowbell.keep_template() is 'Trigger: created_by, updated_at, and defaults in place of null; and one change of a tenant''s templates at a time';
create trigger keep before insert or update or delete on rowbell.template
	for each row execute function rowbell.keep_template();

-- +goose StatementBegin
create function rowbell.rendered_names(source text) returns setof text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
	select distinct m[1] from regexp_matches(source, '\{%-?[[:space:]]*render[[:space:]]+["'']([^"'']{1,64})["'']', 'g') m
$$;
-- +goose StatementEnd
comment on function rowbell.rendered_names(text) is 'The names that a template renders';

-- +goose StatementBegin
create function rowbell.named_in_config(config jsonb) returns setof text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
	select distinct n
	from jsonb_path_query(config, 'strict $.** ? (@.type() == "string")') as s (value), rowbell.rendered_names(s.value #>> '{}') n
	where config::text ~ '\{%-?([[:space:]]|\\[ntr])*render'
$$;
-- +goose StatementEnd
comment on function rowbell.named_in_config(jsonb) is 'The templates that the texts of an action_config render';

-- +goose StatementBegin
create function rowbell.names_reached(names text[], tenant text) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
	with recursive used (name) as (
		select unnest(names)
		union
		select n from used join rowbell.template t on t.name = used.name, rowbell.rendered_names(t.source) n
		where t.tenant_id = tenant
			or t.tenant_id is null and not exists (select from rowbell.template o where o.tenant_id = tenant and o.name = t.name)
	)
	select name from used
$$;
-- +goose StatementEnd
comment on function rowbell.names_reached(text[], text) is 'These names and those that the templates of these names render, as a workflow of the tenant sees them; whether there is one or not';

-- +goose StatementBegin
create function rowbell.templates_of(names text[], tenant text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
	select jsonb_object_agg(x.name, x.sources)
	from (
		select t.name, jsonb_object_agg(t.locale, t.source) as sources
		from rowbell.names_reached(names, tenant) n join rowbell.template t on t.name = n
		where t.tenant_id = tenant
			or t.tenant_id is null and not exists (select from rowbell.template o where o.tenant_id = tenant and o.name = t.name)
		group by t.name) x
$$;
-- +goose StatementEnd
comment on function rowbell.templates_of(text[], text) is 'The templates of these names and those that they render, as a workflow of the tenant sees them: {name: {locale: source}}; null without any';

-- +goose StatementBegin
create function rowbell.workflows_rendering(template text, of_tenant text) returns table (workflow_id text, tenant_id text, status text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
	with recursive rendering (name) as (
		select template
		union
		select t.name from rendering r join rowbell.template t on t.source ~ 'render' and r.name in (select rowbell.rendered_names(t.source))
	), candidate as ( -- whoever's the templates between them are
		select d.id, d.tenant_id, d.status, array_agg(n) as names
		from rowbell.workflow_definition d join rowbell.workflow_action a on a.workflow_id = d.id, rowbell.named_in_config(a.action_config) n
		where (of_tenant is null or d.tenant_id = of_tenant) and a.action_config::text ~ 'render'
		group by d.id
	)
	select c.id, c.tenant_id, c.status from candidate c
	where c.names && (select array_agg(name) from rendering)
		and template in (select rowbell.names_reached(c.names, c.tenant_id))
	order by c.id
$$;
-- +goose StatementEnd
comment on function rowbell.workflows_rendering(text, text) is 'The workflows whose actions render a template of a tenant (null: of the operators), by themselves or through others';

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

-- +goose StatementBegin
create function rowbell.template_changed() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
	u record;
	lost text[] := '{}';
begin
	if tg_op <> 'INSERT' then
		for u in select * from rowbell.workflows_rendering(old.name, old.tenant_id) loop
			-- At the end of the transaction it may be there again, or the operators' in its place.
			if rowbell.templates_of(array[old.name], u.tenant_id) -> old.name is null then
				lost := lost || u.workflow_id;
			end if;
		end loop;
		if cardinality(lost) > 0 then
			raise exception using
				errcode = 'foreign_key_violation',
				message = format('template %s is still used by %s', old.name,
					case cardinality(lost) when 1 then 'workflow ' || lost[1] else cardinality(lost) || ' workflows: ' || array_to_string(lost[1:20], ', ')
						|| case when cardinality(lost) > 20 then ', …' else '' end end),
				hint = format('Take {%% render ''%s'' %%} out of their actions first, or change the template instead.', old.name);
		end if;
		for u in select * from rowbell.workflows_rendering(old.name, old.tenant_id) x where x.status = 'active' loop
			perform rowbell.version_workflow(u.workflow_id);
		end loop;
	end if;
	if tg_op = 'INSERT' or tg_op = 'UPDATE' and (new.name, new.tenant_id) is distinct from (old.name, old.tenant_id) then
		for u in select * from rowbell.workflows_rendering(new.name, new.tenant_id) x where x.status = 'active' loop
			perform rowbell.version_workflow(u.workflow_id);
		end loop;
	end if;
	return null;
end
$$;
-- +goose StatementEnd
comment on function rowbell.template_changed() is 'Trigger: writes versions of the active workflows that render a changed template, and refuses to take one away that is used';

create constraint trigger version after insert or delete on rowbell.template
	deferrable initially deferred for each row execute function rowbell.template_changed();
create constraint trigger version_update after update on rowbell.template
	deferrable initially deferred for each row
	when ((old.tenant_id, old.name, old.locale, old.source) is distinct from (new.tenant_id, new.name, new.locale, new.source))
	execute function rowbell.template_changed();

-- +goose StatementBegin
create function rowbell.templates_truncated() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
	if exists (select from rowbell.workflow_action a, rowbell.named_in_config(a.action_config)) then
		raise exception using
			errcode = 'foreign_key_violation',
			message = 'TRUNCATE of rowbell.template refused: workflows render templates',
			hint = 'DELETE those that none renders.';
	end if;
	return null;
end
$$;
-- +goose StatementEnd
comment on function rowbell.templates_truncated() is 'Trigger: refuses TRUNCATE while workflows render templates';
create trigger version_truncate after truncate on rowbell.template
	for each statement execute function rowbell.templates_truncated();
alter table rowbell.template enable always trigger version, enable always trigger version_update, enable always trigger version_truncate;

revoke execute on function rowbell.version_workflow(text) from public;
revoke execute on function rowbell.workflows_rendering(text, text) from public;
revoke execute on function rowbell.templates_of(text[], text) from public;
revoke execute on function rowbell.names_reached(text[], text) from public;
-- Triggers fire without EXECUTE; nobody is to put these on tables of their own.
revoke execute on function rowbell.template_changed() from public;
revoke execute on function rowbell.templates_truncated() from public;
comment on column rowbell.workflow_version.document is 'The definition with its triggers, conditions, actions and recipients, and the templates that its texts render, as one JSON object; null when deleted';
