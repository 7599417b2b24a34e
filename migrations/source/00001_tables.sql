-- +goose Up
-- Tables of the source: what people write, and what is shown to them there. Ids are
-- text of up to 64 characters without a dot (ids of deliveries join them with dots); a
-- row whose writer gives none gets a ULID. Constraints are named for the people who
-- will read their names in an error.

-- +goose StatementBegin
create function rowbell.gen_ulid() returns text
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
	a constant text := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
	us constant bigint := floor(extract(epoch from clock_timestamp()) * 1000000)::bigint;
	ms constant bigint := us / 1000;
	-- Random digits of a version 4 UUID, from two stretches that hold no fixed bits.
	r constant text := replace(gen_random_uuid()::text, '-', '');
	-- The ten bits after the millisecond are the microsecond in it, so that ids made
	-- one after the other mostly sort so; 70 random bits follow.
	h constant bigint := (us % 1000) << 30 | (('x' || substr(r, 1, 8))::bit(32)::bigint & 1073741823);
	l constant bigint := ('x' || substr(r, 21, 10))::bit(40)::bigint;
begin
	return substr(a, (ms >> 45 & 31)::int + 1, 1) || substr(a, (ms >> 40 & 31)::int + 1, 1)
		|| substr(a, (ms >> 35 & 31)::int + 1, 1) || substr(a, (ms >> 30 & 31)::int + 1, 1)
		|| substr(a, (ms >> 25 & 31)::int + 1, 1) || substr(a, (ms >> 20 & 31)::int + 1, 1)
		|| substr(a, (ms >> 15 & 31)::int + 1, 1) || substr(a, (ms >> 10 & 31)::int + 1, 1)
		|| substr(a, (ms >> 5 & 31)::int + 1, 1) || substr(a, (ms & 31)::int + 1, 1)
		|| substr(a, (h >> 35 & 31)::int + 1, 1) || substr(a, (h >> 30 & 31)::int + 1, 1)
		|| substr(a, (h >> 25 & 31)::int + 1, 1) || substr(a, (h >> 20 & 31)::int + 1, 1)
		|| substr(a, (h >> 15 & 31)::int + 1, 1) || substr(a, (h >> 10 & 31)::int + 1, 1)
		|| substr(a, (h >> 5 & 31)::int + 1, 1) || substr(a, (h & 31)::int + 1, 1)
		|| substr(a, (l >> 35 & 31)::int + 1, 1) || substr(a, (l >> 30 & 31)::int + 1, 1)
		|| substr(a, (l >> 25 & 31)::int + 1, 1) || substr(a, (l >> 20 & 31)::int + 1, 1)
		|| substr(a, (l >> 15 & 31)::int + 1, 1) || substr(a, (l >> 10 & 31)::int + 1, 1)
		|| substr(a, (l >> 5 & 31)::int + 1, 1) || substr(a, (l & 31)::int + 1, 1);
end
$$;
-- +goose StatementEnd
comment on function rowbell.gen_ulid() is 'A new ULID: the clock in milliseconds, then the microsecond and 70 random bits';

create table rowbell.setting (
	one boolean primary key default true constraint only_one_row check (one),
	publication text not null default 'rowbell',
	tenant_column text not null default 'tenant_id'
);
comment on table rowbell.setting is 'One row: settings of the installation that rowbell.capture needs when it is called from SQL; written by rowbell when it starts';
comment on column rowbell.setting.one is 'Always true, so that there is one row';
comment on column rowbell.setting.publication is 'ROWBELL_PUBLICATION: the publication of captured tables; the one for inserts only has _insert after this name';
comment on column rowbell.setting.tenant_column is 'ROWBELL_TENANT_COLUMN: the column that holds the tenant in captured tables that have it';
insert into rowbell.setting default values;

create table rowbell.workflow_definition (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	tenant_id text
		constraint tenant_id_must_have_1_to_200_characters_null_means_operators check (char_length(tenant_id) between 1 and 200),
	name text not null default '',
	description text not null default '',
	status text not null default 'draft'
		constraint status_must_be_draft_active_or_inactive check (status in ('draft', 'active', 'inactive')),
	settings jsonb not null default '{}'
		constraint settings_must_be_a_json_object check (jsonb_typeof(settings) = 'object'),
	draft jsonb
		constraint draft_must_be_a_json_object check (jsonb_typeof(draft) = 'object'),
	version integer not null default 0,
	created_by text not null default session_user,
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now()
);
create index workflow_definition_tenant_id on rowbell.workflow_definition (tenant_id);
comment on table rowbell.workflow_definition is 'Workflows, as people write them. With its triggers, conditions, actions and recipients it becomes a row of workflow_version at the end of each transaction that changes it; only those versions are run';
comment on column rowbell.workflow_definition.id is 'Any text of up to 64 characters without a dot; a ULID if not given. Cannot be changed';
comment on column rowbell.workflow_definition.tenant_id is 'The tenant whose rows it sees; null for an operators'' workflow, which sees all. Cannot be changed';
comment on column rowbell.workflow_definition.name is 'What people call it';
comment on column rowbell.workflow_definition.description is 'What it is for';
comment on column rowbell.workflow_definition.status is 'draft (being written, never runs), active (runs) or inactive (turned off)';
comment on column rowbell.workflow_definition.settings is 'JSON object of options, such as the firing mode; {} for the defaults';
comment on column rowbell.workflow_definition.draft is 'JSON object: changes that an editor has not published yet; no part of any version';
comment on column rowbell.workflow_definition.version is 'Number of its latest version; kept by trigger, writes to it are ignored';
comment on column rowbell.workflow_definition.created_by is 'Who made it: the actor of the transaction (rowbell.set_actor), else the database user';
comment on column rowbell.workflow_definition.created_at is 'When it was made';
comment on column rowbell.workflow_definition.updated_at is 'When it, or the version it stands at, last changed; kept by trigger';

create table rowbell.workflow_trigger (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	workflow_id text not null
		constraint workflow_id_must_be_a_workflow_definition references rowbell.workflow_definition on delete cascade,
	entity_type text not null
		constraint entity_type_must_not_be_empty check (entity_type <> ''),
	operation text not null
		constraint operation_must_be_create_update_or_delete check (operation in ('create', 'update', 'delete')),
	field_conditions jsonb not null default '{}'
		constraint field_conditions_must_be_a_json_object check (jsonb_typeof(field_conditions) = 'object'),
	priority integer not null default 100
);
create index workflow_trigger_workflow_id on rowbell.workflow_trigger (workflow_id);
comment on table rowbell.workflow_trigger is 'What sets a workflow off: an operation on a captured table, or a domain event. Any one of them is enough';
comment on column rowbell.workflow_trigger.id is 'Any text of up to 64 characters without a dot; a ULID if not given';
comment on column rowbell.workflow_trigger.workflow_id is 'The workflow it belongs to';
comment on column rowbell.workflow_trigger.entity_type is 'The label of a captured table (orders, or sales.orders outside schema public), or domain:<name> for events of rowbell.emit';
comment on column rowbell.workflow_trigger.operation is 'create, update or delete';
comment on column rowbell.workflow_trigger.field_conditions is 'JSON object that the row must satisfy, as {"status": "approved", "total": {"gt": 1000}}; {} for every row';
comment on column rowbell.workflow_trigger.priority is 'Executions of one event run in this order, lower first';

create table rowbell.workflow_condition (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	workflow_id text not null
		constraint workflow_id_must_be_a_workflow_definition references rowbell.workflow_definition on delete cascade,
	condition_type text not null
		constraint condition_type_must_be_a_known_one check (condition_type in ('field_value', 'time_based', 'role_based', 'expression')),
	condition_config jsonb not null default '{}'
		constraint condition_config_must_be_a_json_object check (jsonb_typeof(condition_config) = 'object')
);
create index workflow_condition_workflow_id on rowbell.workflow_condition (workflow_id);
comment on table rowbell.workflow_condition is 'What must hold besides a trigger; all of them must';
comment on column rowbell.workflow_condition.id is 'Any text of up to 64 characters without a dot; a ULID if not given';
comment on column rowbell.workflow_condition.workflow_id is 'The workflow it belongs to';
comment on column rowbell.workflow_condition.condition_type is 'field_value, time_based, role_based or expression';
comment on column rowbell.workflow_condition.condition_config is 'JSON object; its shape follows condition_type, as {"expression": "new.total > 10"}';

create table rowbell.workflow_action (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	workflow_id text not null
		constraint workflow_id_must_be_a_workflow_definition references rowbell.workflow_definition on delete cascade,
	action_type text not null
		constraint action_type_must_not_be_empty check (action_type <> ''),
	action_config jsonb not null default '{}'
		constraint action_config_must_be_a_json_object check (jsonb_typeof(action_config) = 'object'),
	"order" integer not null default 0,
	constraint workflow_action_of_workflow unique (workflow_id, id)
);
comment on table rowbell.workflow_action is 'What a workflow does';
comment on column rowbell.workflow_action.id is 'Any text of up to 64 characters without a dot; a ULID if not given';
comment on column rowbell.workflow_action.workflow_id is 'The workflow it belongs to';
comment on column rowbell.workflow_action.action_type is 'The kind: log, webhook, email, notification, chat, function, publish';
comment on column rowbell.workflow_action.action_config is 'JSON object; its shape follows action_type. A string under a key secret, password or token moves to table secret at the end of the transaction, and {"ref": name} stays';
comment on column rowbell.workflow_action."order" is 'Equal ones run side by side, a higher one when all lower ones are settled';

create table rowbell.workflow_recipient (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	workflow_id text not null
		constraint workflow_id_must_be_a_workflow_definition references rowbell.workflow_definition on delete cascade,
	action_id text,
	recipient_type text not null
		constraint recipient_type_must_be_user_role_group_or_attribute check (recipient_type in ('user', 'role', 'group', 'attribute')),
	recipient_id text not null
		constraint recipient_id_must_not_be_empty check (recipient_id <> ''),
	constraint action_id_must_be_an_action_of_the_same_workflow
		foreign key (workflow_id, action_id) references rowbell.workflow_action (workflow_id, id)
		on delete cascade deferrable initially deferred
);
create index workflow_recipient_workflow_id on rowbell.workflow_recipient (workflow_id, action_id);
comment on table rowbell.workflow_recipient is 'Who gets what the actions send';
comment on column rowbell.workflow_recipient.id is 'Any text of up to 64 characters without a dot; a ULID if not given';
comment on column rowbell.workflow_recipient.workflow_id is 'The workflow it belongs to';
comment on column rowbell.workflow_recipient.action_id is 'The action of the same workflow that it is for; null for all actions';
comment on column rowbell.workflow_recipient.recipient_type is 'user, role, group, or attribute (a column of the changed row holds the recipient)';
comment on column rowbell.workflow_recipient.recipient_id is 'The user, role or group, or the name of the column';

create table rowbell.workflow_version (
	workflow_id text not null,
	version integer not null
		constraint version_must_be_positive check (version > 0),
	tenant_id text,
	status text not null
		constraint status_must_be_draft_active_inactive_or_deleted check (status in ('draft', 'active', 'inactive', 'deleted')),
	document jsonb
		constraint document_must_be_a_json_object_unless_deleted check ((status = 'deleted') = (document is null) and jsonb_typeof(document) = 'object'),
	db_user text not null default session_user,
	created_by text not null,
	created_at timestamptz not null default now(),
	primary key (workflow_id, version)
);
comment on table rowbell.workflow_version is 'What each workflow was from one commit on: insert-only, written by the version trigger, published, and what the worker runs. It has no foreign key: it outlives the definition';
comment on column rowbell.workflow_version.workflow_id is 'The definition''s id';
comment on column rowbell.workflow_version.version is 'Counts from 1 for each id, and goes on when an id is used again';
comment on column rowbell.workflow_version.tenant_id is 'The definition''s tenant; null for an operators'' workflow';
comment on column rowbell.workflow_version.status is 'The definition''s status, or deleted';
comment on column rowbell.workflow_version.document is 'The definition with its triggers, conditions, actions and recipients, as one JSON object; null when deleted';
comment on column rowbell.workflow_version.db_user is 'The database user (session_user) whose transaction wrote it';
comment on column rowbell.workflow_version.created_by is 'The actor of that transaction (rowbell.set_actor), else the database user';
comment on column rowbell.workflow_version.created_at is 'When that transaction began';

create table rowbell.captured_table (
	schema_name text not null,
	table_name text not null,
	version integer not null
		constraint version_must_be_positive check (version > 0),
	label text not null
		constraint label_must_not_be_empty_or_start_with_domain check (label <> '' and label not like 'domain:%' and label not like 'public.%'),
	tenant_column text
		constraint tenant_column_must_not_be_empty check (tenant_column <> ''),
	key_columns text[] not null default '{}',
	hidden text[] not null default '{}',
	redacted text[] not null default '{}',
	insert_only boolean not null default false,
	released boolean not null default false,
	from_xid xid8 not null,
	db_user text not null default session_user,
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	created_at timestamptz not null default now(),
	primary key (schema_name, table_name, version),
	constraint captured_table_label unique (label, version)
);
comment on table rowbell.captured_table is 'Which tables are captured, and how, from one commit on: insert-only, written by rowbell.capture and rowbell.release, published. The row with the greatest version of a table counts. What is not in it does not exist for workflows';
comment on column rowbell.captured_table.schema_name is 'The table''s schema';
comment on column rowbell.captured_table.table_name is 'The table''s name';
comment on column rowbell.captured_table.version is 'Counts from 1 for each table';
comment on column rowbell.captured_table.label is 'What workflows call it in entity_type: the bare name in schema public, schema.name elsewhere, unless another was given';
comment on column rowbell.captured_table.tenant_column is 'The column that holds the row''s tenant; null: none, so that it serves operators'' workflows only';
comment on column rowbell.captured_table.key_columns is 'Columns that name a row in the log, in order; the primary key unless others were given';
comment on column rowbell.captured_table.hidden is 'Columns that never leave the decoder';
comment on column rowbell.captured_table.redacted is 'Columns that are masked wherever they are stored or shown';
comment on column rowbell.captured_table.insert_only is 'The table has no replica identity, so that only its inserts are published';
comment on column rowbell.captured_table.released is 'The table is no longer captured';
comment on column rowbell.captured_table.from_xid is 'Only transactions from this one on count: an overlapping one is sent or not sent by chance';
comment on column rowbell.captured_table.db_user is 'The database user (session_user) who captured or released it';
comment on column rowbell.captured_table.created_by is 'The actor (rowbell.set_actor), else the database user';
comment on column rowbell.captured_table.created_at is 'When the row was written';

create table rowbell.workflow_health (
	workflow_id text primary key,
	version integer not null,
	tenant_id text,
	verdict text not null
		constraint verdict_must_be_a_known_one check (verdict in ('ok', 'broken', 'incomplete', 'not_captured')),
	message text not null default '',
	warnings text[] not null default '{}',
	updated_at timestamptz not null default now()
);
create index workflow_health_verdict on rowbell.workflow_health (verdict) where verdict <> 'ok';
comment on table rowbell.workflow_health is 'Whether each workflow runs, and if not, why and how to mend it. A display: the worker rewrites it, and nothing decides by it';
comment on column rowbell.workflow_health.workflow_id is 'The workflow';
comment on column rowbell.workflow_health.version is 'The version that the verdict is about';
comment on column rowbell.workflow_health.tenant_id is 'The workflow''s tenant; null for an operators'' workflow';
comment on column rowbell.workflow_health.verdict is 'ok, broken (cannot be compiled or bound to its table), incomplete (active without trigger or action) or not_captured (names a table that is not captured)';
comment on column rowbell.workflow_health.message is 'What is wrong, where, and how to mend it; empty when ok';
comment on column rowbell.workflow_health.warnings is 'What is worth knowing and does not stop it';
comment on column rowbell.workflow_health.updated_at is 'When the worker wrote the row';

create table rowbell.secret (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	tenant_id text
		constraint tenant_id_must_have_1_to_200_characters_null_means_operators check (char_length(tenant_id) between 1 and 200),
	name text not null default rowbell.gen_ulid()
		constraint name_must_have_1_to_200_characters check (char_length(name) between 1 and 200),
	plain text,
	sealed bytea,
	key_id text,
	workflow_id text,
	action_id text,
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	created_at timestamptz not null default now(),
	sealed_at timestamptz,
	constraint secret_must_be_either_plain_or_sealed check ((plain is null) <> (sealed is null))
);
create unique index secret_name_is_taken_in_this_tenant on rowbell.secret (coalesce(tenant_id, ''), name);
create index secret_unsealed on rowbell.secret (created_at) where plain is not null;
comment on table rowbell.secret is 'Secrets that action_config names by {"ref": name}, within the workflow''s own tenant. Plain ones are sealed by the worker as soon as it sees them';
comment on column rowbell.secret.id is 'A ULID';
comment on column rowbell.secret.tenant_id is 'The tenant whose workflows may use it; null for operators'' workflows';
comment on column rowbell.secret.name is 'What {"ref": …} says; unique in the tenant. A ULID for one that the version trigger moved here';
comment on column rowbell.secret.plain is 'The secret, until it is sealed';
comment on column rowbell.secret.sealed is 'The secret, encrypted with ROWBELL_SECRET_KEY';
comment on column rowbell.secret.key_id is 'Which key sealed it';
comment on column rowbell.secret.workflow_id is 'The workflow that it was moved from; null if it was written here';
comment on column rowbell.secret.action_id is 'The action that it was moved from; null if it was written here';
comment on column rowbell.secret.created_by is 'The actor (rowbell.set_actor), else the database user';
comment on column rowbell.secret.created_at is 'When it was written';
comment on column rowbell.secret.sealed_at is 'When it was sealed';

create table rowbell.audit_log (
	id text primary key default rowbell.gen_ulid(),
	at timestamptz not null default now(),
	tenant_id text,
	actor text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	db_user text not null default session_user,
	action text not null
		constraint action_must_not_be_empty check (action <> ''),
	object_type text not null default '',
	object_id text not null default '',
	detail jsonb not null default '{}'
		constraint detail_must_be_a_json_object check (jsonb_typeof(detail) = 'object')
);
create index audit_log_at on rowbell.audit_log (at);
create index audit_log_tenant_id on rowbell.audit_log (tenant_id, at);
create index audit_log_object on rowbell.audit_log (object_type, object_id, at);
comment on table rowbell.audit_log is 'Who did what through the API and the command line. Edits of workflows are in workflow_version as well, whoever makes them';
comment on column rowbell.audit_log.id is 'A ULID';
comment on column rowbell.audit_log.at is 'When';
comment on column rowbell.audit_log.tenant_id is 'The tenant it concerns; null for operators'' acts';
comment on column rowbell.audit_log.actor is 'Who, as the API knows them, else the database user';
comment on column rowbell.audit_log.db_user is 'The database user (session_user)';
comment on column rowbell.audit_log.action is 'What was done, such as workflow.activate or delivery.retry';
comment on column rowbell.audit_log.object_type is 'What kind of thing it was done to, such as workflow';
comment on column rowbell.audit_log.object_id is 'Which one';
comment on column rowbell.audit_log.detail is 'JSON object with the rest; never a secret';

create table rowbell.sql_member (
	role_name text not null
		constraint role_name_must_not_be_empty check (role_name <> ''),
	tenant_id text not null
		constraint tenant_id_must_not_be_empty check (tenant_id <> ''),
	access text not null default 'edit'
		constraint access_must_be_view_or_edit check (access in ('view', 'edit')),
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	created_at timestamptz not null default now(),
	primary key (role_name, tenant_id)
);
comment on table rowbell.sql_member is 'Which database roles may see and edit which tenant''s workflows by SQL';
comment on column rowbell.sql_member.role_name is 'The database role';
comment on column rowbell.sql_member.tenant_id is 'The tenant';
comment on column rowbell.sql_member.access is 'view, or edit (which includes view)';
comment on column rowbell.sql_member.created_by is 'The actor (rowbell.set_actor), else the database user';
comment on column rowbell.sql_member.created_at is 'When it was written';

create table rowbell.pause (
	id text primary key default rowbell.gen_ulid()
		constraint id_must_have_1_to_64_characters_and_no_dot check (char_length(id) between 1 and 64 and position('.' in id) = 0),
	tenant_id text
		constraint tenant_id_must_not_be_empty check (tenant_id <> ''),
	workflow_id text
		constraint workflow_id_must_not_be_empty check (workflow_id <> ''),
	reason text not null default '',
	until timestamptz,
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	created_at timestamptz not null default now(),
	constraint a_pause_names_a_tenant_or_a_workflow_or_neither check (tenant_id is null or workflow_id is null)
);
create unique index this_is_already_paused on rowbell.pause (coalesce(tenant_id, ''), coalesce(workflow_id, ''));
comment on table rowbell.pause is 'Deliveries that wait: those of a workflow, of a tenant, or, with neither, all. Recording goes on';
comment on column rowbell.pause.id is 'A ULID';
comment on column rowbell.pause.tenant_id is 'The tenant whose deliveries wait; null for one workflow or for all';
comment on column rowbell.pause.workflow_id is 'The workflow whose deliveries wait; null for a tenant or for all';
comment on column rowbell.pause.reason is 'Why, for people';
comment on column rowbell.pause.until is 'When it ends by itself; null: when the row is deleted';
comment on column rowbell.pause.created_by is 'The actor (rowbell.set_actor), else the database user';
comment on column rowbell.pause.created_at is 'When it was written';
