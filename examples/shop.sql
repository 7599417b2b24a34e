-- The shop that `rowbell demo` and the examples use: two tenants, acme and globex,
-- in one set of tables, told apart by tenant_id. Nothing in here knows of Rowbell.

create table customers (
    id              bigint generated always as identity primary key,
    tenant_id       text not null,
    name            text not null,
    email           text not null,
    city            text not null,
    account_manager text,
    credit_limit    numeric(12,2) not null default 500,
    created_at      timestamptz not null default now()
);

create table orders (
    id          bigint generated always as identity primary key,
    tenant_id   text not null,
    customer_id bigint not null references customers,
    status      text not null default 'new'
                check (status in ('new', 'approved', 'shipped', 'delivered', 'cancelled')),
    total       numeric(12,2) not null,
    note        text,
    placed_at   timestamptz not null default now()
);

create table invoices (
    id              bigint generated always as identity primary key,
    tenant_id       text not null,
    order_id        bigint references orders on delete set null,
    account_manager text, -- of the customer
    status          text not null default 'open' check (status in ('open', 'paid', 'overdue')),
    amount          numeric(12,2) not null,
    due_on          date not null
);

-- Who works there, and as what. Rowbell looks people up by queries that its operator sets
-- (ROWBELL_DIRECTORY_USERS and so on: docs/operations.md); examples/embed.go has the shop's.
create table staff (
    id        text primary key,
    tenant_id text not null,
    name      text not null,
    email     text,
    locale    text not null,
    time_zone text not null
);

create table staff_roles (
    staff_id text not null references staff on delete cascade,
    role     text not null,
    primary key (staff_id, role)
);

-- An UPDATE or DELETE carries the old values of a row into the WAL only where the
-- replica identity says so. Workflows that compare old with new (changed_to and the
-- like), or that look at a deleted row, need this; others don't.
alter table orders replica identity full;
alter table customers replica identity full;

insert into staff values
    ('maria', 'acme',   'Maria Costa',  'maria@acme.example',  'pt-PT', 'Europe/Lisbon'),
    ('rui',   'acme',   'Rui Antunes',  'rui@acme.example',    'en-GB', 'Europe/Lisbon'),
    ('lena',  'globex', 'Lena Brandt',  'lena@globex.example', 'de-DE', 'Europe/Berlin'),
    ('karl',  'globex', 'Karl Petersen', null,                 'de-DE', 'Europe/Berlin');
insert into staff_roles values
    ('maria', 'finance'), ('maria', 'manager'), ('rui', 'sales'),
    ('lena', 'finance'), ('karl', 'finance'), ('lena', 'manager');

insert into customers (tenant_id, name, email, city, account_manager, credit_limit) values
    ('acme',   'Ada Brook',     'ada@brook.example',     'Lisbon',  'maria', 1500),
    ('acme',   'Noor Haddad',   'noor@haddad.example',   'Porto',   'rui',    800),
    ('acme',   'Tomás Vieira',  'tomas@vieira.example',  'Braga',   'rui',   2500),
    ('globex', 'Ines Falk',     'ines@falk.example',     'Hamburg', 'lena',  1200),
    ('globex', 'Jun Okada',     'jun@okada.example',     'Bremen',  'karl',   600),
    ('globex', 'Pia Lindqvist', 'pia@lindqvist.example', 'Kiel',    'lena',  4000);
