package app

import "testing"

func TestPublicURL(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"https://bell.example.com": true, "https://bell.example.com/": true, "https://bell.example.com:8443/rowbell/v1.0/": true,
		"http://localhost:8080": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true,
		"": false, "bell.example.com": false, "http://bell.example.com": false, "ftp://bell.example.com": false, "https://": false,
		"https://ann:pw@bell.example.com": false, "https://bell.example.com?x=1": false, "https://bell.example.com/#x": false,
		"https://bell.example.com//x": false, "https://bell.example.com/../x": false, "https://bell.example.com/a b": false, "https://bell.example.com/{x}": false,
	} {
		if err := checkPublicURL(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
