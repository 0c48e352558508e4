package redis_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// FuzzFakeServer sends anything to a fake; it must answer, or end the connection, and close.
func FuzzFakeServer(f *testing.F) {
	for _, seed := range []string{
		"*1\r\n$4\r\nPING\r\n", "PING\r\n", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "*-1\r\n", "*1\r\n$-1\r\n", "*99999999\r\n", "*1\r\n:1\r\n", "\r\n",
		"*3\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n", "*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n", "CLIENT REPLY SKIP\r\nBLPOP a 0\r\n", "SUBSCRIBE a a\r\nUNSUBSCRIBE\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		network := redis.NewFakeNet()
		s := network.Server(redis.FakeServerOptions{})
		raw, err := network.Dial(t.Context(), "tcp", s.Addr())
		check(t, err)
		if _, err := raw.Write(data); err != nil {
			t.Logf("the fake has closed: %v", err)
		}
		check(t, raw.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
		_, _ = io.Copy(io.Discard, raw) // until the fake has nothing more to say
		check(t, raw.Close())
		check(t, network.Close())
	})
}

// readOnly is a connection that has received data and gets no more.
type readOnly struct {
	net.Conn
	data io.Reader
}

func (r readOnly) Read(p []byte) (int, error) { return r.data.Read(p) }

// FuzzConnReceive reads replies from anything until it is no reply.
func FuzzConnReceive(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n:2\r\n", "%1\r\n+a\r\n+b\r\n", ">1\r\n+x\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(12\r\n",
		"=5\r\ntxt:a\r\n", "!3\r\nERR\r\n", "~1\r\n+a\r\n", "*-1\r\n", "$99999999999\r\n", "%1\r\n*0\r\n+x\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		c := redis.NewConn(readOnly{data: bytes.NewReader(data)})
		for {
			if _, err := c.Receive(); err != nil {
				if _, isReply := err.(redis.ReplyError); !isReply { //nolint:errorlint // Receive returns it bare
					return
				}
			}
		}
	})
}
