# The runners' way out. Which hosts an agent may reach is decided by the proxy inside its sandbox; this is the second wall,
# which holds even if the first one falls: HTTPS only, and nothing of the team's own network unless it is named.

locals {
  # Google's own front end for private networks: https://cloud.google.com/vpc/docs/configure-private-google-access
  google_range = "199.36.153.8/30"
  google_ips   = [for host in range(4) : cidrhost(local.google_range, host)]

  # RFC 1918 and carrier-grade NAT: closed before "everything else" is opened
  private_space = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]

  egress_rules = merge(
    {
      named   = { allow = true, priority = 1000, ranges = concat(var.network.private_ranges, [local.google_range]), ports = ["443"] }
      private = { allow = false, priority = 2000, ranges = local.private_space, ports = [] }
      rest    = { allow = false, priority = 65000, ranges = ["0.0.0.0/0"], ports = [] }
    },
    var.network.egress_proxy == null
    ? { https = { allow = true, priority = 3000, ranges = ["0.0.0.0/0"], ports = ["443"] } }
    : { proxy = { allow = true, priority = 1000, ranges = [var.network.egress_proxy.range], ports = [regex(":([0-9]+)$", var.network.egress_proxy.url)[0]] } },
  )
}

resource "google_compute_network" "runners" {
  count                   = var.network.enabled ? 1 : 0
  name                    = "pullwright-runners"
  auto_create_subnetworks = false

  depends_on = [google_project_service.needed]
}

resource "google_compute_subnetwork" "runners" {
  #checkov:skip=CKV_GCP_76:The network has IPv4 only.
  count                    = var.network.enabled ? 1 : 0
  name                     = "pullwright-runners"
  network                  = google_compute_network.runners[0].id
  region                   = var.region
  ip_cidr_range            = var.network.range
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "egress" {
  for_each           = { for name, rule in local.egress_rules : name => rule if var.network.enabled }
  name               = "pullwright-runners-${each.key}"
  network            = google_compute_network.runners[0].name
  direction          = "EGRESS"
  priority           = each.value.priority
  destination_ranges = each.value.ranges

  dynamic "allow" {
    for_each = each.value.allow ? [1] : []
    content {
      protocol = "tcp"
      ports    = each.value.ports
    }
  }
  dynamic "deny" {
    for_each = each.value.allow ? [] : [1]
    content {
      protocol = "all"
    }
  }
  dynamic "log_config" {
    for_each = each.value.allow ? [] : [1]
    content {
      metadata = "INCLUDE_ALL_METADATA" # what was refused is worth knowing
    }
  }
}

# without a proxy, the internet is reached through NAT; with one, there is no other way
resource "google_compute_router" "runners" {
  count   = var.network.enabled && var.network.egress_proxy == null ? 1 : 0
  name    = "pullwright-runners"
  network = google_compute_network.runners[0].id
  region  = var.region
}

resource "google_compute_router_nat" "runners" {
  count                              = var.network.enabled && var.network.egress_proxy == null ? 1 : 0
  name                               = "pullwright-runners"
  router                             = google_compute_router.runners[0].name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.runners[0].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# the dispatcher's run.app address leads to Google's private front end, so gateway calls never leave Google's network:
# https://cloud.google.com/run/docs/securing/private-networking
resource "google_dns_managed_zone" "run_app" {
  #checkov:skip=CKV_GCP_16:A private zone has no delegation that DNSSEC could protect.
  count       = var.network.enabled ? 1 : 0
  name        = "pullwright-run-app"
  dns_name    = "run.app."
  description = "Cloud Run through Google's private front end"
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.runners[0].id
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_dns_record_set" "run_app" {
  for_each     = { for name, record in { "run.app." = { type = "A", data = local.google_ips }, "*.run.app." = { type = "CNAME", data = ["run.app."] } } : name => record if var.network.enabled }
  managed_zone = google_dns_managed_zone.run_app[0].name
  name         = each.key
  type         = each.value.type
  ttl          = 300
  rrdatas      = each.value.data
}
