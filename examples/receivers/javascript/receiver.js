// Takes Rowbell's webhooks and does what each of them is for exactly once, however often
// it comes.
//
//	WEBHOOK_SECRET=whsec_… DATABASE_URL=postgres://… PORT=8000 node receiver.js
import { createServer } from "node:http";
import pg from "pg";
import { Webhook } from "standardwebhooks";

const maxBody = 4 << 20; // bytes

const secret = process.env.WEBHOOK_SECRET ?? "";
if (secret.length < 32) {
  throw new Error("WEBHOOK_SECRET is missing or too short"); // with an empty one, anybody could sign
}
const webhook = new Webhook(secret);

const db = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  // Less than Rowbell waits, so that it gets an answer even when the database hangs.
  connectionTimeoutMillis: 3_000,
  query_timeout: 3_000,
});
// A connection that breaks would end the process without these. The query that it
// carried fails by itself.
db.on("error", (err) => console.error(err.message));
db.on("connect", (client) => client.on("error", (err) => console.error(err.message)));

await db.query(`
  create table if not exists webhook_message (
    id text primary key, received_at timestamptz not null default now(), type text not null, body text not null);
  create table if not exists message_count (type text primary key, count bigint not null)`);

// store returns only when the message and its effect are committed, by this call or by an
// earlier one. Of two at the same time, the insert of the second waits for the commit of
// the first.
async function store(id, type, body) {
  const client = await db.connect();
  try {
    await client.query("begin");
    const { rowCount } = await client.query(
      "insert into webhook_message (id, type, body) values ($1, $2, $3) on conflict (id) do nothing",
      [id, type, body],
    );
    if (rowCount === 1) {
      // The effect. Here it is a count, which a repetition would spoil.
      await client.query(
        `insert into message_count (type, count) values ($1, 1)
         on conflict (type) do update set count = message_count.count + 1`,
        [type],
      );
    }
    await client.query("commit");
  } catch (err) {
    client.release(true); // closes the connection, which undoes what was not committed
    throw err;
  }
  client.release();
}

async function receive(req) {
  if (req.method !== "POST" || req.url !== "/webhook") return 404;
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size <= maxBody) chunks.push(chunk); // what is too long is read to its end, and not kept
  }
  if (size > maxBody) return 413;
  const body = Buffer.concat(chunks).toString();

  // First the signature, of the text as it came, then its meaning.
  let message;
  try {
    message = webhook.verify(body, req.headers);
  } catch (err) {
    console.error(err.message);
    return 400;
  }
  if (typeof message?.type !== "string") return 400;

  try {
    await store(req.headers["webhook-id"], message.type, body);
  } catch (err) {
    console.error(err.message);
    return 503; // Rowbell tries again
  }
  return 204;
}

const server = createServer(async (req, res) => {
  try {
    res.writeHead(await receive(req)).end();
  } catch (err) {
    console.error(err.message); // the request broke off: nobody waits for an answer
    res.destroy();
  }
});
server.requestTimeout = 30_000;
server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/webhook`);
});
