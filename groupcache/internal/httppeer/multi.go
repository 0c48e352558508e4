package httppeer

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// GetMulti asks for several keys with one request.
func (t *Transport) GetMulti(ctx context.Context, group string, keys []string, alive func()) ([]wire.Answer, error) {
	return t.several(t.watched(ctx, alive), keyPath(group, ""), keys, alive)
}

// GetCached asks for what the peer has in its cache of several keys.
func (t *Transport) GetCached(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	return t.several(ctx, keyPath(group, CachedOnly), keys, func() {})
}

// Offer tells the peer what it may take over.
func (t *Transport) Offer(ctx context.Context, group, from string, keys []string) error {
	body := multiwire.AppendRequest(nil, append([]string{from}, keys...))
	return t.tell(ctx, http.MethodPost, keyPath(group, Offered), body)
}

// Sweep drops all keys of a group that begin with a prefix: a POST of the group alone. Older
// versions do not take it for a request of theirs.
func (t *Transport) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	body := multiwire.AppendRequest(nil, []string{string(s.Phase), s.ID, s.Prefix})
	return t.tell(ctx, http.MethodPost, Escape(group), body)
}

// written in the place of a phase asks which keys were written lately.
const written = "written"

// Written asks which of several keys were set or removed lately: a POST of the group alone, too.
func (t *Transport) Written(ctx context.Context, group string, within time.Duration, keys []string) ([]wire.Answer, error) {
	parts := append([]string{written, strconv.FormatInt(within.Milliseconds(), 10)}, keys...)
	return t.severalParts(ctx, Escape(group), parts, len(keys), func() {})
}

// entryOverhead is what an answer takes besides its value and its message, at most.
const entryOverhead = 64

func (t *Transport) several(ctx context.Context, below string, keys []string, alive func()) ([]wire.Answer, error) {
	return t.severalParts(ctx, below, keys, len(keys), alive)
}

// severalParts makes a request of several parts, which has n answers.
func (t *Transport) severalParts(ctx context.Context, below string, parts []string, n int, alive func()) ([]wire.Answer, error) {
	response, err := t.send(ctx, http.MethodPost, below, multiwire.AppendRequest(nil, parts))
	if err != nil {
		return nil, err
	}
	defer discard(response)
	if response.StatusCode != http.StatusOK {
		return nil, refusalOf(response)
	}
	if err := noValue(response); err != nil {
		return nil, err
	}
	var answers []wire.Answer
	limit := t.client.MaxValueSize + multiwire.MaxAnswer + int64(n)*entryOverhead
	err = t.client.read(response, limit, alive, func(body []byte) error {
		answers, err = multiwire.ParseAnswers(body, n)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrForeign, err)
		}
		return nil
	})
	return answers, err
}
