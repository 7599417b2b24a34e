package app

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/rowbell/rowbell/pkg/admin/api"
)

// Server is a Rowbell server by whose API a command works, in place of the databases.
type Server struct {
	URL string // without a slash at its end, and without api.Prefix
	Key Secret // API key, or another token that the API takes
	// KeyFrom says where the key stands, as messages call it: ROWBELL_KEY.
	KeyFrom string

	keyInFile bool // KeyFrom is the path of a file
}

// LoadServer finds the server in the settings, as Load reads them; nil if a command is to
// work on the databases. A server counts unless the databases are named in a place that
// counts before: on the command line, where it stands in the environment. Of other settings
// nothing is asked.
func LoadServer(flags map[string]string, env func(string) (string, bool)) (*Server, error) {
	in, err := findSettings(flags, env)
	if err != nil {
		return nil, err
	}
	server, _ := in.value(Setting{Flag: "server"})
	source, _ := in.value(Setting{Flag: "source-url"})
	if server.text = strings.TrimSpace(server.text); server.text == "" || source.text != "" && source.rank > server.rank {
		return nil, nil
	}
	if source.rank == onCommandLine && source.text != "" {
		return nil, errors.New("--server and --source-url are two ways to do the same. Give one of them")
	}
	s := &Server{}
	var plain Config
	if v, ok := in.value(Setting{Flag: "plain-http"}); ok {
		if err := boolean(func(c *Config) *bool { return &c.PlainHTTP })(&plain, v.text); err != nil {
			return nil, fmt.Errorf("%s: %w", v.where, err)
		}
	}
	if s.URL, err = serverURL(server.text, plain.PlainHTTP); err != nil {
		return nil, fmt.Errorf("%s: %w", server.where, err)
	}
	return s, s.findKey(in)
}

// HasServer says that the settings name a server, whatever counts.
func HasServer(flags map[string]string, env func(string) (string, bool)) bool {
	in, err := findSettings(flags, env)
	server, _ := in.value(Setting{Flag: "server"})
	return err == nil && strings.TrimSpace(server.text) != ""
}

// serverURL judges a server's URL.
func serverURL(text string, plainHTTP bool) (string, error) {
	const mend = "Write https://bell.example.com, with a path behind it if a proxy has one"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return "", fmt.Errorf("it is no http or https URL. %s", mend) // which may hold a password
	case u.User != nil:
		return "", fmt.Errorf("it has a user or a password, and the server takes keys. %s, and give the key in ROWBELL_KEY", mend)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("it has a query or a fragment. %s", mend)
	case u.Scheme == "http" && !loopback(u.Hostname()) && !plainHTTP:
		return "", fmt.Errorf("everyone between here and %s could read the key, since it would go there by http. Write https://%s; where the network is safe, --plain-http lets it go", u.Host, u.Host)
	}
	return strings.TrimRight(strings.TrimSuffix(strings.TrimRight(u.String(), "/"), api.Prefix), "/"), nil
}

// loopback says that a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// mostKey is how long a key may be, in bytes: tokens of providers are long.
const mostKey = 16 << 10

// findKey finds the key: itself, or in a file.
func (s *Server) findKey(in places) error {
	key, _ := in.value(Setting{Flag: keySetting})
	file, _ := in.value(Setting{Flag: "key-file"})
	var text string
	switch {
	case file.text == "" && key.text == "":
		return fmt.Errorf("there is no key to show to %s. Set ROWBELL_KEY to an API key, or name a file that holds one by --key-file; rowbell key create makes one", s.URL)
	case file.text != "" && file.rank == key.rank:
		return fmt.Errorf("%s and %s are both set, and say two keys. Unset one", key.where, file.where)
	case file.rank > key.rank:
		data, err := os.ReadFile(file.text)
		if err != nil {
			if pe, ok := errors.AsType[*os.PathError](err); ok {
				err = pe.Err
			}
			return fmt.Errorf("%s: can't read %s: %w. Name a file that this user may read", file.where, file.text, err)
		}
		text, s.KeyFrom, s.keyInFile = string(data), file.text, true
	default:
		text, s.KeyFrom = key.text, key.where
	}
	text = strings.TrimSpace(text)
	if text == "" || len(text) > mostKey || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%s holds no key: one is a single word of letters, digits and signs, as rowbell key create prints it", s.KeyFrom)
	}
	s.Key = Secret(text)
	return nil
}

// setKey keeps the key as it is: LoadServer judges it where it is used.
func setKey(c *Config, s string) error {
	c.Key = Secret(strings.TrimSpace(s))
	return nil
}
