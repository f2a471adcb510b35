package evidence

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/respawnhttp/respawn/internal/core"
)

// AuthorityOf returns the authority that a request to u is for, in a form that is fit
// for every output, whatever the URL is.
func AuthorityOf(u *url.URL) core.Authority {
	if u == nil {
		return core.Authority{}
	}
	host := u.Hostname()
	host = host[strings.LastIndexByte(host, '@')+1:] // without user info, which a URL put together by hand may have here
	// ToLower also replaces bytes that are not UTF-8, for which the OTLP exporter
	// would drop all spans of the batch.
	a := core.Authority{
		Scheme: strings.ToLower(clip(u.Scheme, maxScheme)),
		Host:   strings.ToLower(clip(host, maxHost)),
		Port:   clip(u.Port(), maxPort),
	}
	a.Port = cmp.Or(a.Port, portOf(a.Scheme))
	return a
}

// portOf returns the port of a URL that names none; "" if its scheme has none.
func portOf(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// What a URL can be expected to hold, in bytes: a host name of RFC 1035, with
// some room, and a port of 16 bits. A redirect may hold megabytes.
const (
	maxScheme = 32
	maxHost   = 256
	maxPort   = 5
)

func clip(s string, most int) string { return s[:min(len(s), most)] }
