package httppeer

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// Two peers of ours may go on with frames on the connection of a request: a greeting by GET asks
// for it by the headers of an upgrade (RFC 9110, section 7.8), and 101 says that it is so. Request
// and answer prove who asks and who answers like all others; what follows is sealed with keys of
// that exchange, if there is a secret. Any other answer is that to a greeting.

// upgrade has a connection to the peer go on with frames.
func (t *Transport) upgrade(ctx context.Context) (io.ReadWriteCloser, error) {
	r, err := t.request(ctx, http.MethodGet, "", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set(greetingHeader, "1")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", protocol)
	response, err := t.client.roundTrip(t.client.Upgrader, r) //nolint:bodyclose // the body is the connection
	if err != nil {
		return nil, err
	}
	conn, ok := response.Body.(io.ReadWriteCloser)
	if response.StatusCode != http.StatusSwitchingProtocols || !ok || !isMarked(response) || response.Header.Get("Upgrade") != protocol {
		_ = response.Body.Close() // unread: it may be the connection, of which nothing comes
		return nil, fmt.Errorf("%w: %s", errNoUpgrade, response.Status)
	}
	if t.client.Signer == nil {
		return conn, nil
	}
	with, _ := r.Context().Value(signingKey{}).(*signing)
	if with == nil || with.answer == "" {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: %w", errNoUpgrade, wire.ErrUnproved)
	}
	toServer, toClient, err := t.client.Signer.keysOf(with.mac, with.answer)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return line.NewSealed(conn, line.Keys{Out: toServer, In: toClient}), nil
}
