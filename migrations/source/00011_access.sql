-- +goose Up
-- Who may use the API: keys, public keys of host applications that sign links, and members,
-- people of the OpenID Connect provider. Nothing in here lets anybody in who reads it: of a
-- key there is a hash, of a link's key the public half.

create table rowbell.api_key (
	id text primary key
		constraint id_must_be_a_ulid check (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
	tenant_id text
		constraint tenant_id_must_have_1_to_200_characters_null_means_all check (char_length(tenant_id) between 1 and 200),
	name text not null default ''
		constraint name_must_have_at_most_200_characters check (char_length(name) <= 200),
	hash bytea not null
		constraint hash_must_have_32_bytes check (octet_length(hash) = 32),
	roles text[] not null default '{}'
		constraint roles_are_viewer_operator_author_publisher_and_admin check (roles <@ '{viewer,operator,author,publisher,admin}'),
	rights text[] not null default '{}',
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	created_at timestamptz not null default now(),
	expires_at timestamptz,
	last_used_at timestamptz,
	revoked_at timestamptz,
	revoked_by text,
	constraint a_key_has_a_role_or_a_right check (cardinality(roles) + cardinality(rights) > 0)
);
create index api_key_tenant_id on rowbell.api_key (tenant_id, id);
comment on table rowbell.api_key is 'API keys: programs show rbk_<id>_<secret>. Made by rowbell key create, which prints one once';
comment on column rowbell.api_key.id is 'A ULID; the middle part of the key';
comment on column rowbell.api_key.tenant_id is 'The only tenant whose things the key reaches; null for all tenants and the operators'' own';
comment on column rowbell.api_key.name is 'What it is for, as its maker has written';
comment on column rowbell.api_key.hash is 'SHA-256 of the whole key, whose secret has 130 random bits';
comment on column rowbell.api_key.roles is 'Roles: viewer, operator, author, publisher, admin. See docs/security.md';
comment on column rowbell.api_key.rights is 'Rights beside those of the roles, such as secret.reveal';
comment on column rowbell.api_key.created_by is 'Who made it: the actor of the transaction, else the database user';
comment on column rowbell.api_key.created_at is 'When it was made';
comment on column rowbell.api_key.expires_at is 'When it ends to count; null: not by itself';
comment on column rowbell.api_key.last_used_at is 'When it was last used, to a minute or so; null: never';
comment on column rowbell.api_key.revoked_at is 'When it was revoked; null: it counts';
comment on column rowbell.api_key.revoked_by is 'Who revoked it';

create table rowbell.link_key (
	id text primary key
		constraint id_must_be_a_ulid check (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
	tenant_id text
		constraint tenant_id_must_have_1_to_200_characters_null_means_all check (char_length(tenant_id) between 1 and 200),
	name text not null default ''
		constraint name_must_have_at_most_200_characters check (char_length(name) <= 200),
	public_key bytea not null
		constraint public_key_must_have_at_most_1024_bytes check (octet_length(public_key) between 1 and 1024),
	roles text[] not null
		constraint roles_are_viewer_operator_author_publisher_and_admin check (roles <@ '{viewer,operator,author,publisher,admin}' and cardinality(roles) > 0),
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	created_at timestamptz not null default now(),
	expires_at timestamptz,
	revoked_at timestamptz,
	revoked_by text
);
create index link_key_tenant_id on rowbell.link_key (tenant_id, id);
comment on table rowbell.link_key is 'Public keys of host applications, which sign links for their people with the private ones. Several may count at a time';
comment on column rowbell.link_key.id is 'A ULID; links name it in their header as kid: rbl_<id>';
comment on column rowbell.link_key.tenant_id is 'The only tenant that its links may be for; null: each link says which';
comment on column rowbell.link_key.name is 'Whose key it is, as whoever added it has written';
comment on column rowbell.link_key.public_key is 'Ed25519 or ECDSA P-256, as SubjectPublicKeyInfo in DER (RFC 5280)';
comment on column rowbell.link_key.roles is 'The roles that its links may give';
comment on column rowbell.link_key.created_by is 'Who added it: the actor of the transaction, else the database user';
comment on column rowbell.link_key.created_at is 'When it was added';
comment on column rowbell.link_key.expires_at is 'When it ends to count; null: not by itself';
comment on column rowbell.link_key.revoked_at is 'When it was revoked; null: it counts';
comment on column rowbell.link_key.revoked_by is 'Who revoked it';

create table rowbell.member (
	id text primary key default rowbell.gen_ulid(),
	tenant_id text
		constraint tenant_id_must_have_1_to_200_characters_null_means_all check (char_length(tenant_id) between 1 and 200),
	issuer text not null
		constraint issuer_must_have_1_to_500_characters check (char_length(issuer) between 1 and 500),
	subject text not null
		constraint subject_must_have_1_to_200_characters check (char_length(subject) between 1 and 200),
	name text not null default ''
		constraint name_must_have_at_most_200_characters check (char_length(name) <= 200),
	email text not null default ''
		constraint email_must_have_at_most_320_characters check (char_length(email) <= 320),
	roles text[] not null default '{}'
		constraint roles_are_viewer_operator_author_publisher_and_admin check (roles <@ '{viewer,operator,author,publisher,admin}'),
	rights text[] not null default '{}',
	created_by text not null default coalesce(nullif(current_setting('rowbell.actor', true), ''), session_user),
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now(),
	constraint a_member_has_a_role_or_a_right check (cardinality(roles) + cardinality(rights) > 0)
);
create unique index member_is_there_once_for_each_tenant on rowbell.member (issuer, subject, coalesce(tenant_id, ''));
create index member_tenant_id on rowbell.member (tenant_id, id);
comment on table rowbell.member is 'What people of the OpenID Connect provider may do, beside what the claims of their tokens give them';
comment on column rowbell.member.id is 'A ULID if not given';
comment on column rowbell.member.tenant_id is 'The tenant in which it counts; null for all tenants and the operators'' own';
comment on column rowbell.member.issuer is 'The provider, as ROWBELL_OIDC_ISSUER has it';
comment on column rowbell.member.subject is 'The person: claim sub of their tokens';
comment on column rowbell.member.name is 'What they are called; for people who read the list';
comment on column rowbell.member.email is 'Their address; for people who read the list';
comment on column rowbell.member.roles is 'Roles: viewer, operator, author, publisher, admin. See docs/security.md';
comment on column rowbell.member.rights is 'Rights beside those of the roles, such as secret.reveal';
comment on column rowbell.member.created_by is 'Who added them: the actor of the transaction, else the database user';
comment on column rowbell.member.created_at is 'When they were added';
comment on column rowbell.member.updated_at is 'When this was last changed';

-- The first key is made by the first worker that finds none, and never again.
alter table rowbell.setting add column first_key_at timestamptz;
comment on column rowbell.setting.first_key_at is 'When the first API key was made and shown in a worker''s log; null: a worker that finds no key makes it';
