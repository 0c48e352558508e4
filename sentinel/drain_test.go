package sentinel_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// What has come before the reply, or of it, is no reply: a message of the server's own, as client
// tracking has them, and the first of several replies. The rest has its moment.
func TestADialersConnectionsDrainToTheEnd(t *testing.T) {
	for what, before := range map[string]string{
		"a message":         ">2\r\n$10\r\ninvalidate\r\n_\r\n",
		"the first reply":   "+OK\r\n",
		"a part of a reply": "$",
	} {
		t.Run(what, func(t *testing.T) {
			through := &taps{}
			actThrough(t, through, redis.FakeClusterOptions{}, sentinel.Options{Mode: sentinel.PushOnly}, func(s *stage) {
				ours, server := net.Pipe()
				through.dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
				g := s.guest()
				through.dial = s.cluster.Net.Dial
				sent, said := make([]byte, 64), make([]byte, 64)
				serve := func(reply string) {
					if _, err := server.Write([]byte(reply)); err != nil {
						t.Errorf("the server writes %q: %v", reply, err)
					}
				}
				go func() {
					if _, err := server.Read(sent); err == nil {
						serve(before)
					}
				}()
				if err := g.say("GET", "a"); err != nil {
					t.Fatal(err)
				}
				if n, err := g.Read(said); err != nil || string(said[:n]) != before {
					t.Fatalf("%q, %v", said[:n], err)
				}
				rest := make(chan error, 1)
				go func() {
					_, err := io.ReadFull(g, said[:5])
					rest <- err
				}()
				synctest.Wait()
				fresh := s.cluster.Replicas()[0]
				s.cluster.Promote(fresh)
				s.cluster.Announce()
				s.within(40*time.Millisecond, fresh)
				serve("+OK\r\n")
				if err := <-rest; err != nil {
					t.Errorf("within the time to drain: %v", err)
				}
				wantNotSent(t, g.say("SET", "a", "1"), sentinel.ErrFailover)
			})
		})
	}
}
