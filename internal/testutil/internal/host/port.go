package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the ranges that Linux, macOS and Windows hand out to outgoing connections: else a client's
// own connection may sit on the port of a killed server when that is restarted.
const (
	lowestPort  = 12_000
	highestPort = 32_000
	portTries   = 200
)

// FreePort returns a TCP port that nobody listens on at 127.0.0.1. Another process may take it before the caller does.
func FreePort(ctx context.Context) (int, error) {
	ln, err := ListenFree(ctx)
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// ListenFree listens on a free port of 127.0.0.1.
func ListenFree(ctx context.Context) (net.Listener, error) {
	var err error
	for range portTries {
		var ln net.Listener
		ln, err = Listen(ctx, Loopback(lowestPort+rand.IntN(highestPort-lowestPort)))
		if err == nil {
			return ln, nil
		}
	}
	return nil, fmt.Errorf("no free port in %d tries: %w", portTries, err)
}

// Listen listens on addr, a TCP host:port.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", addr)
}

// Loopback returns the address of a port of 127.0.0.1.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
