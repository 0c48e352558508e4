// Package autorefresh serves values from memory and refreshes every one of them in the background,
// whether it is read or not: a read never waits for the source, and no value grows older than its
// period while the source answers.
//
// [New] makes a [Cache] around one function that refreshes a value, [NewBatch] around one that
// refreshes many at once. [NewAutoRefreshCache] is the older, item-based face over the same core.
//
// # What happens when
//
//   - Each item is due once a period, 0 to 10 % early, so that items drift apart. Workers
//     pull the items that are due: a backlog costs no memory and no goroutines, and a key
//     has one call under way at most, deleted and re-created keys included.
//   - A refresh that fails keeps the value and is tried again, later each time. When the
//     source as a whole fails, a breaker stops all calls but one trial at a time; what fell
//     due meanwhile is spread over a period when it is back.
//   - [Cache.Load] loads missing keys, each once however many callers wait.
//   - A second level ([Store]) lets several processes share what one of them has refreshed.
package autorefresh
