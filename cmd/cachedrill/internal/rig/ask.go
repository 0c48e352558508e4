package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// askTimeout bounds how long a server may take to say its version.
const askTimeout = 2 * time.Second

// ErrNoAnswer is returned by Ask when not one server answered; it names each address and its error.
var ErrNoAnswer = errors.New("no server answers")

// Asked is what Ask has found out about a server.
type Asked struct {
	Addr string
	// Kind is what it calls itself, such as "memcached 1.6.18", or "no answer".
	Kind string
	// Err is why it does not answer; nil if it does.
	Err error
}

// Ask asks all servers for their version at the same time. It returns ErrNoAnswer if none answers.
func Ask(ctx context.Context, addrs []string) ([]Asked, error) {
	servers := make([]Asked, len(addrs))
	errs := make([]error, len(addrs))
	var workers sync.WaitGroup
	for i, addr := range addrs {
		workers.Go(func() {
			kind, err := ask(ctx, addr)
			if err != nil {
				kind = "no answer"
			}
			servers[i], errs[i] = Asked{addr, kind, err}, err
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err == nil {
			return servers, nil
		}
	}
	return nil, fmt.Errorf("%w:\n%w", ErrNoAnswer, errors.Join(errs...))
}

func ask(ctx context.Context, addr string) (kind string, err error) {
	network := "tcp"
	if strings.Contains(addr, "/") {
		network = "unix"
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return "", fmt.Errorf("%s: %w", addr, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", fmt.Errorf("%s: %w", addr, err)
	}
	if _, err := conn.Write([]byte("version\r\n")); err != nil {
		return "", fmt.Errorf("%s: %w", addr, err)
	}
	line, err := bufio.NewReaderSize(conn, 256).ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("%s: no answer to the version command: %w", addr, err)
	}
	version, found := strings.CutPrefix(strings.TrimSpace(string(line)), "VERSION ")
	if !found {
		return "", fmt.Errorf("%s: not a memcached: it answers %.40q to the version command", addr, line)
	}
	return "memcached " + version, nil
}
