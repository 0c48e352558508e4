package page

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// Guard refuses requests for a host name that is not this machine's: a page of a stranger may have
// had its own name resolved to the loopback address, and would read this page. addr is the
// listener's; a name in it is allowed.
func Guard(addr string, next http.Handler) http.Handler {
	allowed := []string{"localhost"}
	if name, err := os.Hostname(); err == nil {
		allowed = append(allowed, name)
	}
	if host, _, err := net.SplitHostPort(addr); err == nil {
		allowed = append(allowed, host)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ours(r.Host, allowed) {
			http.Error(w, "cachedrill: the host "+r.Host+" is not this one; use its address, or give the name where the address to listen on is given", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ours reports whether a Host header is an address, or one of the names.
func ours(header string, names []string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	for _, name := range names {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}
