// Receiver takes Rowbell's webhooks and does what each of them is for exactly once,
// however often it comes.
//
//	WEBHOOK_SECRET=whsec_… DATABASE_URL=postgres://… PORT=8000 receiver
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	maxBody = 4 << 20 // bytes
	// Less than Rowbell waits, so that it gets an answer even when the database hangs.
	storeTimeout = 10 * time.Second
)

const schema = `
create table if not exists webhook_message (
	id text primary key, received_at timestamptz not null default now(), type text not null, body text not null);
create table if not exists message_count (type text primary key, count bigint not null)`

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	secret := os.Getenv("WEBHOOK_SECRET")
	if len(secret) < 32 { // with an empty one, anybody could sign
		return errors.New("WEBHOOK_SECRET is missing or too short")
	}
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return fmt.Errorf("WEBHOOK_SECRET: %w", err)
	}
	db, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(ctx, schema); err != nil {
		return err
	}

	port := os.Getenv("PORT")
	if port == "" {
		port = "8000"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s/webhook\n", listener.Addr())
	mux := http.NewServeMux()
	mux.Handle("POST /webhook", &receiver{webhook, db})
	server := &http.Server{Handler: mux, ReadTimeout: 30 * time.Second}
	return server.Serve(listener)
}

type receiver struct {
	webhook *standardwebhooks.Webhook
	db      *pgxpool.Pool
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		return // it broke off: nobody waits for an answer
	}
	// First the signature, of the bytes as they came, then their meaning.
	if err := r.webhook.Verify(body, req.Header); err != nil {
		log.Print(err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var message struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(body, &message); err != nil {
		log.Print(err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if err := r.store(req.Context(), req.Header.Get("webhook-id"), message.Type, body); err != nil {
		log.Print(err)
		w.WriteHeader(http.StatusServiceUnavailable) // Rowbell tries again
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// store returns nil only when the message and its effect are committed, by this call or
// by an earlier one. Of two at the same time, the insert of the second waits for the
// commit of the first.
func (r *receiver) store(ctx context.Context, id, messageType string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `insert into webhook_message (id, type, body) values ($1, $2, $3)
			on conflict (id) do nothing`, id, messageType, string(body))
		if err != nil || tag.RowsAffected() == 0 {
			return err // or it is known: nothing to do
		}
		// The effect. Here it is a count, which a repetition would spoil.
		_, err = tx.Exec(ctx, `insert into message_count (type, count) values ($1, 1)
			on conflict (type) do update set count = message_count.count + 1`, messageType)
		return err
	})
}
