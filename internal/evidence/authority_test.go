package evidence

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// An authority is fit for every output, whatever the URL is.
func TestAuthorityOfHostileURLs(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, tc := range []struct {
		url  url.URL
		want string
	}{
		{url.URL{Scheme: "HTTPS", Host: "API.test"}, "https://api.test:443"},
		{url.URL{Scheme: "http", Host: "a.test", User: url.UserPassword("user", "password"), Path: "/p", RawQuery: "q"}, "http://a.test:80"},
		{url.URL{Scheme: "http", Host: "user:password@a.test:8080"}, "http://a.test:8080"},
		{url.URL{Scheme: "http", Host: "user:p@ssword@a.test"}, "http://a.test:80"},
		{url.URL{Scheme: "http", Host: "@"}, "http://:80"},
		{url.URL{Scheme: "http", Host: "\xff\xfe.test"}, "http://\ufffd\ufffd.test:80"},
		{url.URL{Scheme: "http", Host: strings.Repeat("\xff", 1000)}, "http://" + strings.Repeat("\ufffd", 256) + ":80"},
		{url.URL{Scheme: "http", Host: strings.Repeat("ä", 255) + "b"}, "http://" + strings.Repeat("ä", 128) + ":80"},
		{url.URL{Scheme: "http", Host: "b" + strings.Repeat("ä", 255)}, "http://b" + strings.Repeat("ä", 127) + "\ufffd:80"},
		{url.URL{Scheme: long, Host: long + ":" + strings.Repeat("1", 1<<20)}, long[:32] + "://" + long[:256] + ":11111"},
		{url.URL{Scheme: "http", Host: "[2001:DB8::1]"}, "http://[2001:db8::1]:80"},
		{url.URL{Scheme: "http+unix", Host: "/run/a.sock"}, "http+unix:///run/a.sock:"},
		{url.URL{}, ""},
	} {
		got := AuthorityOf(&tc.url).String()
		assert.Equal(t, tc.want, got)
		assert.True(t, utf8.ValidString(got))
	}
}
