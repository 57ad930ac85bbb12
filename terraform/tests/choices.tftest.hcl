# terraform test – what each choice changes, and which choices are refused. Nothing is contacted.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_service_account" {
    defaults = {
      name   = "projects/p/serviceAccounts/someone@p.iam.gserviceaccount.com"
      email  = "someone@p.iam.gserviceaccount.com"
      member = "serviceAccount:someone@p.iam.gserviceaccount.com"
    }
  }
}

variables {
  project_id = "example-project"
}

run "defaults" {
  command = plan

  assert {
    condition     = length(google_cloud_run_v2_job.runner) == 4
    error_message = "one job per resource class"
  }
  assert {
    condition     = google_cloud_run_v2_service.dispatcher.invoker_iam_disabled && length(google_cloud_run_v2_service_iam_member.public) == 0
    error_message = "webhooks get in without allUsers"
  }
  assert {
    condition     = toset(keys(google_compute_firewall.egress)) == toset(["named", "private", "https", "rest"]) && length(google_compute_router_nat.runners) == 1
    error_message = "HTTPS leaves through NAT, private addresses are closed"
  }
  assert {
    condition     = google_firestore_database.this.delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "nobody deletes the database by mistake"
  }
  assert {
    condition     = length(google_billing_budget.month) == 0 && length(google_monitoring_alert_policy.this) > 5
    error_message = "a budget is asked for, alerts are not"
  }
}

run "all_users" {
  command = plan
  variables {
    public_by = "all_users"
  }
  assert {
    condition     = !google_cloud_run_v2_service.dispatcher.invoker_iam_disabled && google_cloud_run_v2_service_iam_member.public[0].member == "allUsers"
    error_message = "the classic way"
  }
}

run "behind_a_proxy" {
  command = plan
  variables {
    network = { egress_proxy = { url = "http://10.8.1.2:3128", range = "10.8.1.2/32" } }
  }
  assert {
    condition     = toset(keys(google_compute_firewall.egress)) == toset(["named", "private", "proxy", "rest"]) && length(google_compute_router_nat.runners) == 0
    error_message = "no way out but the proxy and Google's own addresses"
  }
  assert {
    condition     = google_compute_firewall.egress["proxy"].priority < google_compute_firewall.egress["private"].priority
    error_message = "the proxy's address is private, so its rule comes first"
  }
  assert {
    condition     = length([for item in google_cloud_run_v2_service.runner.template[0].containers[0].env : item if item.name == "HTTPS_PROXY"]) == 1
    error_message = "runners know the proxy"
  }
}

run "without_a_network" {
  command = plan
  variables {
    network = { enabled = false }
  }
  assert {
    condition     = length(google_compute_network.runners) + length(google_compute_firewall.egress) + length(google_dns_managed_zone.run_app) == 0
    error_message = "nothing of a network"
  }
}

run "an_image_catalogue" {
  command = plan
  variables {
    resource_classes = { "1x2" = { cpu = 1, memory_gib = 2 }, "2x4" = { cpu = 2, memory_gib = 4, hours = 8 } }
    runner_images    = { go = "us-central1-docker.pkg.dev/p/pullwright/go@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  }
  assert {
    condition     = toset(keys(google_cloud_run_v2_job.runner)) == toset(["1x2", "2x4", "1x2-go", "2x4-go"])
    error_message = "each image in each class"
  }
  assert {
    condition     = google_cloud_run_v2_job.runner["2x4-go"].template[0].template[0].timeout == "28800s"
    error_message = "hours become seconds"
  }
}

run "a_budget" {
  command = plan
  variables {
    budget       = { billing_account = "012345-6789AB-CDEF01", amount = 200 }
    alert_emails = ["team@example.org"]
  }
  assert {
    condition     = google_billing_budget.month[0].amount[0].specified_amount[0].units == "200" && length(google_monitoring_notification_channel.email) == 1
    error_message = "mail when the month gets dear"
  }
}

run "a_zone_is_no_region" {
  command = plan
  variables {
    region = "us-central1-a"
  }
  expect_failures = [var.region]
}

run "a_class_has_the_name_of_its_size" {
  command = plan
  variables {
    resource_classes = { big = { cpu = 4, memory_gib = 8 } }
    service_class    = "big"
  }
  expect_failures = [var.resource_classes]
}

run "cloud_run_has_no_three_cpus" {
  command = plan
  variables {
    resource_classes = { "3x6" = { cpu = 3, memory_gib = 6 } }
    service_class    = "3x6"
  }
  expect_failures = [var.resource_classes]
}

run "the_service_needs_a_class_that_exists" {
  command = plan
  variables {
    resource_classes = { "4x8" = { cpu = 4, memory_gib = 8 } }
  }
  expect_failures = [var.service_class]
}

run "an_image_without_a_digest" {
  command = plan
  variables {
    runner_images = { go = "example.org/go:latest" }
  }
  expect_failures = [var.runner_images]
}

run "a_secret_among_the_settings" {
  command = plan
  variables {
    settings = { ANTHROPIC_API_KEY = "x" }
  }
  expect_failures = [var.settings]
}

run "a_setting_that_nothing_reads" {
  command = plan
  variables {
    settings = { RUN_BUGDET_USD = "5" }
  }
  expect_failures = [var.settings]
}

run "a_setting_of_the_other_program" {
  command = plan
  variables {
    runner_settings = { RUN_BUDGET_USD = "5" }
  }
  expect_failures = [var.runner_settings]
}

run "a_proxy_without_a_network" {
  command = plan
  variables {
    network = { enabled = false, egress_proxy = { url = "http://10.8.1.2:3128", range = "10.8.1.2/32" } }
  }
  expect_failures = [var.network]
}

run "a_subnet_that_is_too_small" {
  command = plan
  variables {
    network = { range = "10.8.0.0/28" }
  }
  expect_failures = [var.network]
}

run "an_account_that_is_none" {
  command = plan
  variables {
    budget = { billing_account = "my-account", amount = 200 }
  }
  expect_failures = [var.budget]
}
