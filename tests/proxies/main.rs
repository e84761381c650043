//! Real proxies in front of a node, each with the configuration that `docs/proxies` shows.
//!
//! Only addresses and files are replaced, so what is documented is what is tested.

#[path = "../core/support/mod.rs"]
mod support;

mod caches;
mod delivery;
mod ends;
mod far;
mod far_kinds;
mod far_site;
mod kinds;
mod redis_front;
mod site;

macro_rules! proxies {
    ($($name:ident),*) => {$(
        mod $name {
            #[test]
            fn events_come_as_they_are_published_and_quiet_streams_live_on() {
                crate::delivery::streams_as_they_come(stringify!($name));
            }

            #[test]
            fn a_stream_without_events_lives_on_for_eighty_seconds() {
                crate::delivery::a_long_quiet_stream_lives_on(stringify!($name));
            }

            #[test]
            fn limits_count_the_client_and_not_the_proxy() {
                crate::delivery::the_client_is_known(stringify!($name));
            }

            #[test]
            fn a_token_becomes_a_secure_cookie() {
                crate::delivery::a_token_becomes_a_cookie(stringify!($name));
            }

            #[test]
            fn clients_paths_lead_to_a_node_and_no_others() {
                crate::delivery::every_public_path_leads_to_a_node(stringify!($name));
            }

            #[test]
            fn without_tls_an_event_is_there_within_fifty_milliseconds() {
                crate::delivery::a_plain_listener_keeps_nothing_back(stringify!($name));
            }

            #[test]
            fn an_end_that_invites_back_is_no_failure_of_its_node() {
                crate::ends::an_end_that_invites_back_is_no_failure(stringify!($name));
            }

            #[test]
            fn the_last_event_ends_a_stream() {
                crate::ends::the_last_event_ends_a_stream(stringify!($name));
            }

            #[test]
            fn while_all_nodes_are_away_an_eventsource_is_told_to_come_back() {
                crate::ends::while_all_nodes_are_away(stringify!($name));
            }

            #[test]
            fn a_set_of_channels_that_no_url_holds_passes_in_a_body() {
                crate::delivery::a_query_passes(stringify!($name));
            }

            #[test]
            fn after_a_reload_clients_go_on_where_they_were() {
                crate::delivery::a_reload_costs_no_event(stringify!($name));
            }
        }
    )*};
}

proxies!(nginx, haproxy, caddy, envoy);

macro_rules! far {
    ($($name:ident),*) => {$(
        mod $name {
            #[test]
            fn an_event_is_there_within_fifty_milliseconds_and_hang_ups_are_noticed() {
                crate::far::events_come_at_once(stringify!($name));
            }

            #[test]
            fn each_client_has_an_answer_of_its_own() {
                crate::far::each_has_an_answer_of_its_own(stringify!($name));
            }

            #[test]
            fn a_killed_node_costs_no_client_its_stream_for_good() {
                crate::far::a_killed_node_is_left_alone(stringify!($name));
            }

            #[test]
            fn a_drained_node_hands_its_clients_over() {
                crate::far::a_drained_node_hands_its_clients_over(stringify!($name));
            }

            #[test]
            fn ends_arrive_as_they_are() {
                crate::far::ends_arrive_as_they_are(stringify!($name));
            }

            #[test]
            fn limits_count_the_client_and_not_the_proxy() {
                crate::far::the_client_is_known(stringify!($name));
            }

            #[test]
            fn three_hundred_streams_have_room() {
                crate::far::three_hundred_streams_have_room(stringify!($name));
            }

            #[test]
            fn a_slow_reader_costs_what_the_page_says() {
                crate::far::a_slow_reader_costs_what_the_page_says(stringify!($name));
            }

            #[test]
            fn a_query_and_compression_pass() {
                crate::far::a_query_and_compression_pass(stringify!($name));
            }
        }
    )*};
}

far!(apache, varnish, squid, lighttpd, trafficserver, h2o, nghttpx, stunnel, hitch);

#[test]
fn streams_without_events_live_on_for_eighty_seconds_behind_each_far_proxy() {
    crate::far::long_quiet_streams_live_on();
}

macro_rules! redis_fronts {
    ($($name:ident: $test:ident),*) => {$(
        #[test]
        fn $test() {
            crate::redis_front::a_killed_proxy_costs_nothing(stringify!($name));
        }
    )*};
}

redis_fronts!(
    haproxy: haproxy_in_front_of_redis_costs_no_event_when_it_is_killed,
    stunnel: stunnel_in_front_of_redis_costs_no_event_when_it_is_killed,
    envoy: envoy_in_front_of_redis_costs_no_event_when_it_is_killed
);

#[test]
fn quiet_connections_to_redis_live_on_behind_each() {
    crate::redis_front::quiet_connections_live_on();
}
