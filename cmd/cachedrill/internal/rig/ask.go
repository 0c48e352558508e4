package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// askTimeout bounds how long a server may take to say its version.
const askTimeout = 2 * time.Second

// ErrNoAnswer is returned by Ask when not one server answered; it names each address and its error.
var ErrNoAnswer = errors.New("no server answers")

var errNotMemcached = errors.New("not a memcached")

// Asked is what Ask has found out about a server.
type Asked struct {
	Addr string
	// Kind is its name and version, such as "memcached 1.6.18", or "no answer".
	Kind string
	// Bytes are those of its items, Limit is its bound and Evictions how many items have had to
	// go. 0: it does not say.
	Bytes, Limit int64
	Evictions    uint64
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
			servers[i], errs[i] = ask(ctx, addr)
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

func ask(ctx context.Context, addr string) (Asked, error) {
	a := Asked{Addr: addr, Kind: "no answer"}
	if err := a.ask(ctx); err != nil {
		a.Err = fmt.Errorf("%s: %w", addr, err)
	}
	return a, a.Err
}

func (a *Asked) ask(ctx context.Context) error {
	network := "tcp"
	if strings.Contains(a.Addr, "/") {
		network = "unix"
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, a.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("version\r\n")); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 256)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("no answer to the version command: %w", err)
	}
	version, found := strings.CutPrefix(strings.TrimSpace(string(line)), "VERSION ")
	if !found {
		return fmt.Errorf("%w: it answers %.40q to the version command", errNotMemcached, line)
	}
	a.Kind = "memcached " + version
	if _, err := conn.Write([]byte("stats\r\n")); err == nil {
		a.stats(r)
	}
	return nil
}

// mostStats bounds how many lines are read; a memcached has about 90.
const mostStats = 1000

// stats reads how much room there is. A proxy, or a client without the right, gets an error, and
// room stays unknown.
func (a *Asked) stats(r *bufio.Reader) {
	for range mostStats {
		line, err := r.ReadSlice('\n')
		fields := strings.Fields(string(line))
		if err != nil || len(fields) < 3 || fields[0] != "STAT" {
			return
		}
		switch n, err := strconv.ParseUint(fields[2], 10, 63); {
		case err != nil:
		case fields[1] == "bytes":
			a.Bytes = int64(n)
		case fields[1] == "limit_maxbytes":
			a.Limit = int64(n)
		case fields[1] == "evictions":
			a.Evictions = n
		}
	}
}
