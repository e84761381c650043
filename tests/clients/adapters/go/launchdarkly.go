package main

import (
	"errors"
	"net/http"

	"github.com/launchdarkly/eventsource"
)

// opening says when an answer is a stream, which the library does not.
type opening struct{}

func (opening) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err == nil && answer.StatusCode == http.StatusOK {
		say("open", nil)
	}
	return answer, err
}

// launchDarkly: github.com/launchdarkly/eventsource, a client that connects again by itself.
func launchDarkly(o order) {
	request, err := http.NewRequest(http.MethodGet, o.URL, nil)
	if err != nil {
		panic(err)
	}
	for name, value := range o.Headers {
		request.Header.Set(name, value)
	}
	stream, err := eventsource.SubscribeWithRequestAndOptions(request,
		eventsource.StreamOptionLastEventID(o.LastEventID),
		eventsource.StreamOptionHTTPClient(&http.Client{Transport: opening{}}),
		eventsource.StreamOptionErrorHandler(func(err error) eventsource.StreamErrorHandlerResult {
			failed(statusOf(err), err)
			return eventsource.StreamErrorHandlerResult{}
		}))
	if err != nil {
		failed(statusOf(err), err)
		return
	}
	for each := range stream.Events {
		event(each.Event(), each.Data(), each.Id())
	}
}

func statusOf(err error) int {
	var refused eventsource.SubscriptionError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 0
}
