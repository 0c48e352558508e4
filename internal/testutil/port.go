package testutil

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
func FreePort() (int, error) { return freePort(context.Background()) }

func freePort(ctx context.Context) (int, error) {
	ln, err := listenFree(ctx)
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// listenFree listens on a free port of 127.0.0.1.
func listenFree(ctx context.Context) (net.Listener, error) {
	var err error
	for range portTries {
		var ln net.Listener
		ln, err = listen(ctx, loopback(lowestPort+rand.IntN(highestPort-lowestPort)))
		if err == nil {
			return ln, nil
		}
	}
	return nil, fmt.Errorf("testutil: no free port in %d tries: %w", portTries, err)
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", addr)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
