package chat

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/template"
)

const (
	maxResponse       = 1 << 10 // bytes of an answer that are kept
	maxQuote          = 200     // bytes of an answer in an error's text
	tooManyRetryAfter = time.Minute
)

// service is a chat service and its way of taking messages.
type service struct {
	name, title string
	// channel says how a channel is written, of services that are told by a bot's token;
	// "" of those with a webhook's URL.
	channel    string
	server     string // where the API is, of bots; "" if there is no vendor's
	markup     template.Channel
	plainTitle bool // a title has no markup
	most       int  // characters of a text
	send       func(x *exchange, m message) error
	// fault finds what an answer says by its body; nil: the status says it all.
	fault func(res *egress.Response) fault
}

// fault is what a service says in its own words.
type fault struct {
	said      string        // "" if nothing is wrong
	permanent bool          // whatever the status
	retry     bool          // whatever the status
	wait      time.Duration // 0 if it asks for none
}

// services are those that there are, in the order of the documentation. Each has the
// vendor's page on its format beside it.
var services = []service{
	{
		// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
		name: "slack", title: "Slack", markup: template.Chat, plainTitle: true, most: 3000,
		send: func(x *exchange, m message) error {
			client := &http.Client{Transport: x, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			return slack.PostWebhookCustomHTTPContext(x.ctx, m.secret, client, &slack.WebhookMessage{Text: fallback(m), Blocks: &slack.Blocks{BlockSet: slackBlocks(m)}})
		},
		fault: slackWebhookFault,
	},
	{
		// https://docs.slack.dev/reference/methods/chat.postMessage
		name: "slack_bot", title: "Slack", markup: template.Chat, plainTitle: true, most: 3000,
		channel: "a channel's id, as C0123456789", server: "https://slack.com",
		send: func(x *exchange, m message) error {
			api := slack.New(m.secret, slack.OptionHTTPClient(x), slack.OptionAPIURL(m.server+"/api/"))
			_, _, err := api.PostMessageContext(x.ctx, m.channel, slack.MsgOptionText(fallback(m), false), slack.MsgOptionBlocks(slackBlocks(m)...))
			return err
		},
		fault: slackFault,
	},
	{
		// https://learn.microsoft.com/en-us/connectors/teams/#microsoft-teams-webhook
		// https://adaptivecards.io/explorer/TextBlock.html
		name: "teams", title: "Teams", markup: template.Markdown, most: 10_000,
		send: func(x *exchange, m message) error {
			var blocks []map[string]any
			if m.title != "" {
				blocks = append(blocks, map[string]any{"type": "TextBlock", "text": m.title, "weight": "Bolder", "size": "Medium", "wrap": true})
			}
			blocks = append(blocks, map[string]any{"type": "TextBlock", "text": paragraphs(m.text), "wrap": true})
			return x.json(http.MethodPost, m.secret, nil, map[string]any{
				"type": "message",
				"attachments": []any{map[string]any{
					"contentType": "application/vnd.microsoft.card.adaptive",
					"contentUrl":  nil,
					"content": map[string]any{
						"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": blocks,
					},
				}},
			})
		},
		fault: teamsFault,
	},
	{
		// https://discord.com/developers/docs/resources/webhook#execute-webhook
		name: "discord", title: "Discord", markup: template.Markdown, most: 1800,
		send: func(x *exchange, m message) error {
			return x.json(http.MethodPost, m.secret, nil, map[string]any{"content": titled(m, "**", "**"), "allowed_mentions": map[string]any{"parse": []string{}}})
		},
		fault: func(res *egress.Response) fault {
			var a struct {
				Message    string
				RetryAfter float64 `json:"retry_after"`
			}
			_ = json.Unmarshal(res.Body, &a) // then the status says it
			return fault{said: failed(res, a.Message), wait: seconds(a.RetryAfter)}
		},
	},
	{
		// https://developers.mattermost.com/integrate/webhooks/incoming/
		// It looks for mentions in what is left once Markdown is read: a backslash makes no
		// text of an @, and a space of no width behind it does.
		name: "mattermost", title: "Mattermost", markup: template.Markdown, most: 4000,
		send: func(x *exchange, m message) error {
			return x.json(http.MethodPost, m.secret, nil, map[string]any{"text": strings.ReplaceAll(titled(m, "**", "**"), `\@`, "\\@\u200b")})
		},
		fault: func(res *egress.Response) fault {
			var a struct{ Message string }
			_ = json.Unmarshal(res.Body, &a) // then the status says it
			return fault{said: failed(res, a.Message)}
		},
	},
	{
		// https://developers.google.com/workspace/chat/quickstart/webhooks
		// https://developers.google.com/workspace/chat/api/reference/rest/v1/cards#TextParagraph
		name: "googlechat", title: "Google Chat", markup: template.HTML, plainTitle: true, most: 4000,
		send: func(x *exchange, m message) error {
			card := map[string]any{"sections": []any{map[string]any{"widgets": []any{
				map[string]any{"textParagraph": map[string]any{"text": strings.ReplaceAll(m.text, "\n", "<br>")}},
			}}}}
			if m.title != "" {
				card["header"] = map[string]any{"title": m.title}
			}
			return x.json(http.MethodPost, m.secret, nil, map[string]any{"cardsV2": []any{map[string]any{"cardId": "rowbell", "card": card}}})
		},
		fault: func(res *egress.Response) fault {
			var a struct {
				Error struct{ Message, Status string }
			}
			_ = json.Unmarshal(res.Body, &a) // then the status says it
			return fault{said: failed(res, a.Error.Message), retry: a.Error.Status == "RESOURCE_EXHAUSTED" || a.Error.Status == "UNAVAILABLE"}
		},
	},
	{
		// https://core.telegram.org/bots/api#sendmessage
		name: "telegram", title: "Telegram", markup: template.HTML, most: 3500,
		channel: "a chat's number, as -1001234567890, or @channel", server: "https://api.telegram.org",
		send: func(x *exchange, m message) error {
			return x.json(http.MethodPost, m.server+"/bot"+m.secret+"/sendMessage", nil, map[string]any{
				"chat_id": m.channel, "text": titled(m, "<b>", "</b>"), "parse_mode": "HTML", "link_preview_options": map[string]any{"is_disabled": true},
			})
		},
		fault: func(res *egress.Response) fault {
			var a struct {
				OK          *bool
				Description string
				Parameters  struct {
					RetryAfter float64 `json:"retry_after"`
				}
			}
			if json.Unmarshal(res.Body, &a) == nil && a.OK != nil && !*a.OK {
				return fault{said: cmp.Or(a.Description, "no"), wait: seconds(a.Parameters.RetryAfter)}
			}
			return fault{said: failed(res, "")}
		},
	},
	{
		// https://spec.matrix.org/latest/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
		// https://spec.matrix.org/latest/client-server-api/#user-and-room-mentions
		// A message that doesn't say whom it mentions mentions by its text: @room everybody.
		name: "matrix", title: "Matrix", markup: template.Plain, most: 10_000,
		channel: "a room's id, as !room:example.com",
		send: func(x *exchange, m message) error {
			to := m.server + "/_matrix/client/v3/rooms/" + url.PathEscape(m.channel) + "/send/m.room.message/" + url.PathEscape(m.key)
			return x.json(http.MethodPut, to, http.Header{"Authorization": {"Bearer " + m.secret}}, map[string]any{
				"msgtype": "m.text", "body": titled(m, "", ""), "m.mentions": struct{}{},
			})
		},
		fault: func(res *egress.Response) fault {
			var a struct {
				Errcode      string
				Error        string
				RetryAfterMS float64 `json:"retry_after_ms"`
			}
			_ = json.Unmarshal(res.Body, &a) // then the status says it
			return fault{said: failed(res, strings.TrimSpace(a.Errcode+" "+a.Error)), wait: seconds(a.RetryAfterMS / 1000)}
		},
	},
}

func names() []string {
	list := make([]string, len(services))
	for i := range services {
		list[i] = services[i].name
	}
	return list
}

func serviceNames() string {
	text, _ := json.Marshal(names()) // never fails
	return string(text)
}

func serviceTitles() string {
	var list []string
	for i := range services {
		if t := services[i].title; len(list) == 0 || list[len(list)-1] != t {
			list = append(list, t)
		}
	}
	n := len(list) - 1
	return strings.Join(list[:n], ", ") + " or " + list[n]
}

// checkSecret says what is wrong with a webhook's URL or a token. It doesn't quote it.
func (s *service) checkSecret(secret string) error {
	if secret == "" {
		if s.channel != "" {
			return errors.New("it is empty; write the bot's token")
		}
		return errors.New("it is empty; write the webhook's URL")
	}
	if s.channel == "" {
		_, err := egress.CheckURL(secret)
		return err
	}
	if len(secret) > 2048 || strings.ContainsFunc(secret, func(r rune) bool {
		return r > unicode.MaxASCII || unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("/?#%@", r)
	}) {
		return fmt.Errorf("it has characters that a token of %s doesn't have; write the token alone", s.title)
	}
	return nil
}

// judge returns nil for a success, else an *actions.Error.
func (s *service) judge(res *egress.Response) error {
	code := res.StatusCode
	f := s.fault(res)
	if code >= 200 && code < 300 && f.said == "" {
		return nil
	}
	e := &actions.Error{Permanent: true}
	text := fmt.Sprintf("%s answered %d", s.title, code)
	switch {
	case code >= 300 && code < 400:
		text += "; redirects are not followed: check the URL"
	case f.permanent:
	case f.retry, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		e.Permanent = false
		e.RetryAfter = min(max(f.wait, actions.RetryAfter(res.Header.Get("Retry-After"), time.Now())), actions.MaxRetryAfter)
		if code == http.StatusTooManyRequests || e.RetryAfter > 0 || f.wait > 0 {
			e.Busy, e.RetryAfter = true, cmp.Or(e.RetryAfter, tooManyRetryAfter)
		}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		text += "; it wants another secret, or the bot is not in the channel"
	case code == http.StatusNotFound || code == http.StatusGone:
		text += "; the webhook or the channel is not there any more: check secret and channel"
	}
	if said := strings.Join(strings.Fields(actions.Printable([]byte(f.said), maxQuote)), " "); said != "" {
		text += "; it said: " + said
	}
	// Several failures of these are the destination's: a webhook that is gone takes nothing
	// more, and a service that is away nothing now.
	e.Down = !e.Permanent || code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusNotFound
	e.Gone = code == http.StatusGone
	e.Err = errors.New(text)
	return e
}

// failed is what is said of an answer whose status is no success: the text, or else the
// start of the body; "" of a success.
func failed(res *egress.Response, said string) string {
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return ""
	}
	return cmp.Or(said, actions.Printable(res.Body, maxQuote), "nothing")
}

// seconds is a duration from JSON, rounded up so that the wait is over after it.
func seconds(n float64) time.Duration {
	if math.IsNaN(n) || n <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(min(n, actions.MaxRetryAfter.Seconds())*1000)) * time.Millisecond
}

// titled puts the title, in bold, above the text.
func titled(m message, before, after string) string {
	if m.title == "" {
		return m.text
	}
	return before + m.title + after + "\n" + m.text
}

// fallback is what Slack shows in notifications.
func fallback(m message) string {
	if m.title != "" {
		return slackutilsx.EscapeMessage(m.title)
	}
	return m.text
}

func slackBlocks(m message) []slack.Block {
	var list []slack.Block
	if m.title != "" {
		list = append(list, slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, m.title, false, false)))
	}
	// Verbatim: names of channels and addresses in values don't become links and mentions.
	return append(list, slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, m.text, false, true), nil, nil))
}

// paragraphs writes line breaks as Teams' cards take them.
func paragraphs(text string) string {
	text = strings.ReplaceAll(text, "\\\n", "\n") // that of a value, as CommonMark has it
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n\n")
}

// slackPasses are errors of Slack's API that may pass. The others say that the token, the
// channel or the message is not right.
var slackPasses = map[string]bool{
	"ratelimited": true, "rate_limited": true, "internal_error": true, "fatal_error": true, "request_timeout": true, "service_unavailable": true,
	"team_added_to_org": true, "message_limit_exceeded": true, "rollup_error": true,
}

func slackFault(res *egress.Response) fault {
	var a struct {
		OK       *bool
		Error    string
		Needed   string
		Metadata struct{ Messages []string } `json:"response_metadata"`
	}
	if json.Unmarshal(res.Body, &a) != nil || a.OK == nil {
		if said := failed(res, ""); said != "" {
			return fault{said: said}
		}
		return fault{said: "no answer of Slack's API: " + actions.Printable(res.Body, maxQuote), retry: true}
	}
	if *a.OK {
		return fault{said: failed(res, "")}
	}
	said := cmp.Or(a.Error, "no")
	if a.Needed != "" {
		said += ", it needs the scope " + a.Needed
	}
	if len(a.Metadata.Messages) > 0 {
		said += ", " + strings.Join(a.Metadata.Messages, ", ")
	}
	return fault{said: said, retry: slackPasses[a.Error]}
}

// slackWebhookFault: webhooks answer "ok", or one word that says why not.
func slackWebhookFault(res *egress.Response) fault {
	said := failed(res, "")
	word := strings.TrimSpace(string(res.Body[:min(len(res.Body), maxQuote)]))
	return fault{said: said, retry: said != "" && slackPasses[word]}
}

// teamsFault: a workflow of Power Automate answers 202, and a connector of before 200 with
// a text that may say that it has failed, and how.
func teamsFault(res *egress.Response) fault {
	body := actions.Printable(res.Body, maxResponse)
	if said := failed(res, ""); said != "" {
		var a struct {
			Error struct{ Code, Message string }
		}
		if json.Unmarshal(res.Body, &a) == nil && a.Error.Message != "" {
			said = strings.TrimSpace(a.Error.Code + " " + a.Error.Message)
		}
		return fault{said: said}
	}
	if strings.Contains(body, "delivery failed") || strings.Contains(body, "HTTP error") {
		f := fault{said: body, permanent: true}
		for _, passes := range []string{"HTTP error 429", "HTTP error 5", "HTTP error 408"} {
			if strings.Contains(body, passes) {
				f.permanent, f.retry, f.wait = false, true, tooManyRetryAfter
			}
		}
		return f
	}
	return fault{}
}
