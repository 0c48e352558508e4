// Package addresses says what the address of a server may be, and what it means.
package addresses

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// NetworkUnix is the network of unix sockets.
const NetworkUnix = "unix"

// IsUnixPath reports whether an address is the path of a unix socket.
func IsUnixPath(address string) bool { return strings.Contains(address, "/") }

// NetworkOf is the network that an address is dialled in.
func NetworkOf(address string) string {
	if IsUnixPath(address) {
		return NetworkUnix
	}
	return "tcp"
}

// MaxLength is that of the longest address: a host name of 253 bytes, its final dot, and a port.
const MaxLength = 253 + len(".:65535")

// Validate returns an error that names the fault of a server's address, if it has one.
func Validate(address string) error {
	switch {
	case address == "":
		return errors.New("memcache: empty server address: use host:port or the path of a unix socket")
	case len(address) > MaxLength:
		return fmt.Errorf("memcache: server address that begins with %.40q has %d bytes: use at most %d", address, len(address), MaxLength)
	}
	if err := ValidateForm(address); err != nil || IsUnixPath(address) {
		return err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("memcache: server address %q: %w: use host:port or the path of a unix socket", address, err)
	}
	return validatePort(address, port)
}

// validatePort takes the names of services, too, as gomemcache does.
func validatePort(address, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil && port != "" {
		n, err = net.LookupPort("tcp", port) //nolint:noctx // it asks a file of this machine.
	}
	if err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("memcache: server address %q: port %q: use a number from 1 to 65535, or the name of a service", address, port)
	}
	return nil
}

// ValidateForm refuses addresses that would be taken for the path of a unix socket, or for a name,
// and are neither: it would be down for ever, and its reads misses without a word. It also judges
// the addresses of a caller's selector, which may have any other form.
func ValidateForm(address string) error {
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == ',' || r == ';' }) {
		return fmt.Errorf("memcache: server address %q: give each address as a string of its own, without spaces or separators", address)
	}
	if scheme, rest, ok := strings.Cut(address, "://"); ok {
		return fmt.Errorf("memcache: server address %q has a scheme: use %q", address, withoutScheme(scheme, rest))
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok && strings.Contains(path, "/") {
		return fmt.Errorf("memcache: server address %q has a scheme: use %q", address, path)
	}
	if host, _, ok := strings.Cut(address, "/"); ok {
		if _, port, err := net.SplitHostPort(host); err == nil && validatePort(host, port) == nil {
			return fmt.Errorf("memcache: server address %q has a path: use %q", address, host)
		}
	}
	return nil
}

// withoutScheme is the address that was most likely meant.
func withoutScheme(scheme, rest string) string {
	if strings.HasPrefix(scheme, "unix") || strings.HasPrefix(rest, "/") {
		return "/" + strings.TrimLeft(rest, "/")
	}
	host, _, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if _, _, err := net.SplitHostPort(host); err != nil && host != "" {
		host += ":11211"
	}
	if host == "" {
		return "host:11211"
	}
	return host
}

// Addr is a net.Addr of text.
type Addr struct{ NetworkName, Text string }

// Network is that of a net.Addr.
func (a Addr) Network() string { return a.NetworkName }

// String is that of a net.Addr.
func (a Addr) String() string { return a.Text }
