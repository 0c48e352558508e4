package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

// ReplayBatch bounds the deletions under way unanswered.
const ReplayBatch = 1024

// session is a connection of the background's own.
type session struct {
	conn net.Conn
	in   *bufio.Reader
	stop func() bool
	done bool // all that was asked is answered

	ending   string        // the last request: see canary
	patience time.Duration // with one batch of deletions
	refused  int           // deletions
}

func (s *Server) openSession(ctx context.Context, dial dialing) (*session, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	in := bufio.NewReaderSize(&meter{Conn: conn, server: s}, 4<<10)
	return &session{conn: conn, in: in, stop: stop, ending: s.Env.canaryRequest()}, nil
}

func (c *session) hangUp() {
	c.stop()
	if c.done {
		_ = c.conn.Close()
		return
	}
	sockets.Discard(c.conn)
}

// canary reads the reply to the ending, which can be told from those of all other commands: it says
// that they are all here, and no more than were asked for. A proxy whose backend for that key is
// dead answers with an error line, which is as good as an end.
func (c *session) canary() error {
	line, err := protocol.ReadLine(c.in)
	if err != nil {
		return err
	}
	if h, ok := protocol.ParseValueHeader(line); ok && string(h.Key) == protocol.CanaryKey { // somebody has stored it
		if _, err := protocol.ReadValue(c.in, h, protocol.CanaryKey); err != nil {
			return err
		}
		if line, err = protocol.ReadLine(c.in); err != nil {
			return err
		}
	}
	if string(line) != "END" && !protocol.IsErrorLine(line) || protocol.TurnedAway(line) || c.in.Buffered() > 0 {
		return protocol.BadReply(protocol.OpGet, line)
	}
	c.done = true
	return nil
}

// greet asks for the version, unless that is left out, and for the canary. An error line is an
// answer.
func (c *session) greet(first string) error {
	if _, err := io.WriteString(c.conn, first+c.ending); err != nil {
		return err
	}
	if first == "" {
		return c.canary()
	}
	line, err := protocol.ReadLine(c.in)
	if err != nil {
		return err
	}
	if got := protocol.ParseLine(protocol.OpPing, line); got.Err != nil && (protocol.TurnedAway(line) || !errors.Is(got.Err, gomemcache.ErrServerError)) {
		return refusedSession(line, got.Err)
	}
	return c.canary()
}

// refusedSession words an error line that the background met with. It is no answer to a call, so it
// is not an [ErrServerError].
func refusedSession(line []byte, err error) error {
	switch {
	case protocol.TurnedAway(line):
		return faults.Soft(faults.ErrTooManyConns)
	case errors.Is(err, gomemcache.ErrServerError):
		return fmt.Errorf("memcache: the server answered %q to a probe or a deletion", line[:min(len(line), protocol.MaxQuoted)])
	}
	return err
}

func (c *session) flush() error {
	if _, err := c.conn.Write([]byte("flush_all\r\n")); err != nil {
		return err
	}
	line, err := protocol.ReadLine(c.in)
	if err != nil {
		return err
	}
	if got := protocol.ParseLine(protocol.OpFlush, line); got.Err != nil {
		return refusedSession(line, got.Err)
	}
	return nil
}

// deleteAll deletes in batches, each settled as soon as it is done: over a long way, all of them
// may take longer than one replay may. Keys whose deletion was refused are not settled.
func (c *session) deleteAll(keys map[string]MissedKey, settle func(map[string]MissedKey)) error {
	batch := make([]string, 0, min(len(keys), ReplayBatch))
	send := func() error {
		done, err := c.deleteBatch(batch)
		if err == nil {
			settled := make(map[string]MissedKey, len(done))
			for _, key := range done {
				settled[key] = keys[key]
			}
			settle(settled)
		}
		batch = batch[:0]
		return err
	}
	for key := range keys {
		if batch = append(batch, key); len(batch) == ReplayBatch {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// deleteBatch returns the keys that are gone. It counts a surplus reply as a failure: it would be
// taken for that of a deletion which the server refuses.
func (c *session) deleteBatch(keys []string) (gone []string, err error) {
	timer := time.AfterFunc(c.patience, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer timer.Stop()
	c.done = false // it may be so after the batch before
	var commands []byte
	for _, key := range keys {
		commands = protocol.AppendRequest(commands, protocol.OpDelete.Word(), &protocol.Request{Op: protocol.OpDelete, Key: key})
	}
	if _, err := c.conn.Write(append(commands, c.ending...)); err != nil {
		return nil, err
	}
	gone = make([]string, 0, len(keys))
	for _, key := range keys {
		line, err := protocol.ReadLine(c.in)
		if err != nil {
			return nil, err
		}
		switch got := protocol.ParseLine(protocol.OpDelete, line); {
		case got.Err == nil, errors.Is(got.Err, gomemcache.ErrCacheMiss):
			gone = append(gone, key)
		case protocol.IsErrorLine(line) && !protocol.TurnedAway(line):
			c.refused++ // as by a proxy whose backend for the key is dead
		default:
			return nil, refusedSession(line, got.Err)
		}
	}
	return gone, c.canary()
}
