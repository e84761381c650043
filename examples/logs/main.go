// Tails a file into a channel: each new line is an event. It goes on after a restart where it was.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const stream = "sse:logs"

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run . FILE")
	}
	options, err := redis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		log.Fatal(tail(context.Background(), redis.NewClient(options), os.Args[1]))
	}()
	address := cmp.Or(os.Getenv("HOST"), "127.0.0.1") + ":3000"
	log.Printf("tails %s on http://%s", os.Args[1], address)
	log.Fatal(http.ListenAndServe(address, http.FileServer(http.Dir("page"))))
}

// publish appends a line. The offset behind it in the file goes along: where there is `data`, other fields are ours.
func publish(ctx context.Context, client *redis.Client, line string, offset int64) error {
	return client.XAdd(ctx, &redis.XAddArgs{
		Stream: stream, MaxLen: 100_000, Approx: true,
		Values: []any{"data", line, "offset", offset},
	}).Err()
}

// published is the offset behind the last line that was published.
func published(ctx context.Context, client *redis.Client) (int64, error) {
	last, err := client.XRevRangeN(ctx, stream, "+", "-", 1).Result()
	if err != nil || len(last) == 0 {
		return 0, err
	}
	offset, _ := last[0].Values["offset"].(string)
	return strconv.ParseInt(offset, 10, 64)
}

func tail(ctx context.Context, client *redis.Client, path string) error {
	offset, err := published(ctx, client)
	if err != nil {
		return err
	}
	for {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		if offset, err = follow(ctx, client, file, offset); err != nil {
			return err
		}
		file.Close()
	}
}

// follow publishes what is in the file behind offset, and what comes, until another file takes its place, or it is cut.
// Returns the offset to begin the next one at.
func follow(ctx context.Context, client *redis.Client, file *os.File, offset int64) (int64, error) {
	if is, err := file.Stat(); err != nil {
		return 0, err
	} else if is.Size() < offset {
		offset = 0
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	reader := bufio.NewReader(file)
	var part string
	for replaced := false; ; {
		line, err := reader.ReadString('\n')
		part += line
		switch {
		case err == nil:
			offset += int64(len(part))
			if err := publish(ctx, client, strings.TrimRight(part, "\r\n"), offset); err != nil {
				return 0, err
			}
			part = ""
		case !errors.Is(err, io.EOF):
			return 0, err
		case replaced:
			return 0, nil
		default:
			time.Sleep(100 * time.Millisecond)
			// Once more to its end, and then to the new one.
			replaced = another(file, offset)
		}
	}
}

// another says whether the file's name leads to another one by now, or it was cut.
func another(file *os.File, offset int64) bool {
	is, err := file.Stat()
	named, errNamed := os.Stat(file.Name())
	return err == nil && errNamed == nil && (!os.SameFile(is, named) || is.Size() < offset)
}
