package httppeer

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// BaseURL returns the base URL of a peer without a slash at its end. All else stays as it is
// written: peers of the original place a peer on their ring by the letters of its URL.
func BaseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%s is no URL%s: write it like http://10.0.0.1:8080", Shown(s), reason(s, err))
	}
	if advice := badURL(s, u); advice != "" {
		return "", fmt.Errorf("%s is no base URL: %s", Shown(s), advice)
	}
	return strings.TrimRight(s, "/"), nil
}

// badURL tells what to do about a URL that is no base URL, empty if it is one.
func badURL(s string, u *url.URL) string {
	const like = "write it like http://10.0.0.1:8080"
	host := u.Hostname()
	switch {
	case u.Scheme != "http" && u.Scheme != "https", host == "":
		return like
	case strings.Contains(host, ":") && !strings.HasPrefix(u.Host, "["):
		return "put the address of IPv6 in brackets, like http://[fd00::1]:8080"
	case strings.ContainsAny(s, "?#"):
		return "leave out what begins with ? or #"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "write a port from 1 to 65535"
		}
	}
	if p := strings.TrimRight(u.Path, "/"); p != "" && path.Clean(p) != p {
		return "write its path without //, . and .."
	}
	return ""
}

// Shown quotes an address for people, without what may be a password.
func Shown(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		scheme, _, ok := strings.Cut(s, "://")
		if !ok || strings.Contains(scheme, "@") {
			return observe.Quote("…" + s[i:])
		}
		return observe.Quote(scheme + "://…" + s[i:])
	}
	return observe.Quote(s)
}

// reason is what the parser of URLs has against one, unless that may have a part of a password.
func reason(s string, err error) string {
	if parse := new(url.Error); errors.As(err, &parse) && !strings.Contains(s, "@") {
		return " (" + parse.Err.Error() + ")"
	}
	return ""
}

// SameAddress reports whether two addresses are, as far as one can see, two spellings of one.
func SameAddress(a, b string) bool {
	hostA, portA := hostPort(a)
	hostB, portB := hostPort(b)
	return portA == portB && (hostA == hostB || isLoopback(hostA) && isLoopback(hostB))
}

// hostPort takes a base URL or host:port apart. The host is in lower case, without a dot at its
// end; the port is that of the scheme if there is none.
func hostPort(s string) (host, port string) {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		host, port = u.Hostname(), u.Port()
		switch {
		case port != "":
		case u.Scheme == "https":
			port = "443"
		default:
			port = "80"
		}
	} else if host, port, err = net.SplitHostPort(s); err != nil {
		return s, ""
	}
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return strings.TrimSuffix(strings.ToLower(host), "."), port
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
