# Execution. The runners' identity has no role at all: code that an agent writes can ask the metadata server for its token,
# and that token must be worth nothing.

locals {
  runner = "claude-code-runner"

  # one job for each resource class and image
  runner_jobs = merge([
    for image_name, image in merge({ "" = var.images.runner }, var.runner_images) : {
      for class_name, class in var.resource_classes :
      trim("${class_name}-${image_name}", "-") => merge(class, { image = image, label = image_name == "" ? "standard" : image_name })
    }
  ]...)

  runner_labels = merge(local.labels, { claude-code-service = "true" })

  runner_environment = merge(
    { RUNNER_SANDBOX = "require" },
    var.network.egress_proxy == null ? {} : {
      HTTPS_PROXY = var.network.egress_proxy.url
      NO_PROXY    = ".run.app,.googleapis.com,metadata.google.internal,127.0.0.1,localhost"
    },
    var.runner_settings,
    {
      ENVIRONMENT             = var.environment
      PLATFORM                = "google"
      RUNNER_AUDIENCE         = local.runner_url
      INVOKER_SERVICE_ACCOUNT = google_service_account.caller.email
      INVOKER_IAM_CHECK       = "true" # the service has no public access, so Cloud Run verifies each token first
    },
  )
}

resource "google_service_account" "runner" {
  account_id   = "pullwright-runner"
  display_name = "Pullwright: runners (no role, on purpose)"
}

resource "google_cloud_run_v2_service" "runner" {
  name                = local.runner
  location            = var.region
  labels              = local.runner_labels
  deletion_protection = var.deletion_protection
  ingress             = "INGRESS_TRAFFIC_ALL" # callers need an identity with run.invoker; the queue's path need not be internal

  template {
    service_account                  = google_service_account.runner.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2" # the sandbox needs namespaces
    timeout                          = "1740s"                      # below the 30 minutes that a task may hold, above the 25 of a run
    max_instance_request_concurrency = 1
    labels                           = local.runner_labels

    scaling {
      max_instance_count = var.max_concurrent_runs
    }

    dynamic "vpc_access" {
      for_each = var.network.enabled ? [1] : []
      content {
        egress = "ALL_TRAFFIC"
        network_interfaces {
          network    = google_compute_network.runners[0].name
          subnetwork = google_compute_subnetwork.runners[0].name
        }
      }
    }

    containers {
      image = var.images.runner # its command is the service; jobs name theirs
      ports {
        container_port = 8080
      }
      resources {
        limits = {
          cpu    = tostring(var.resource_classes[var.service_class].cpu)
          memory = "${var.resource_classes[var.service_class].memory_gib}Gi"
        }
        cpu_idle          = true
        startup_cpu_boost = true
      }
      dynamic "env" {
        for_each = merge(local.runner_environment, { RUNNER_SINGLE_USE = "true" })
        content {
          name  = env.key
          value = env.value
        }
      }
      # a VPC's way out can take a minute to open, and Cloud Run starts an instance within four
      startup_probe {
        tcp_socket {
          port = 8080
        }
        period_seconds    = 2
        failure_threshold = 100
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version, template[0].containers[0].image, template[0].revision, traffic]
  }

  depends_on = [google_project_service.needed]
}

resource "google_cloud_run_v2_job" "runner" {
  for_each            = local.runner_jobs
  name                = "${local.runner}-${each.key}"
  location            = var.region
  labels              = merge(local.runner_labels, { image = each.value.label }) # .ci/traffic renews those with the standard one
  deletion_protection = var.deletion_protection

  template {
    task_count  = 1
    parallelism = 1
    labels      = local.runner_labels

    template {
      service_account       = google_service_account.runner.email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      timeout               = "${each.value.hours * 3600}s"
      max_retries           = 0 # a second attempt is the platform's decision, with a look at the budget

      dynamic "vpc_access" {
        for_each = var.network.enabled ? [1] : []
        content {
          egress = "ALL_TRAFFIC"
          network_interfaces {
            network    = google_compute_network.runners[0].name
            subnetwork = google_compute_subnetwork.runners[0].name
          }
        }
      }

      containers {
        image   = each.value.image
        command = ["python", "-m", "runner.job"]
        resources {
          limits = { cpu = tostring(each.value.cpu), memory = "${each.value.memory_gib}Gi" }
        }
        dynamic "env" {
          for_each = local.runner_environment
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version, template[0].template[0].containers[0].image]
  }

  depends_on = [google_project_service.needed]
}

# who may start a runner: tasks, through the queue
resource "google_cloud_run_v2_service_iam_member" "caller_calls_runner" {
  name     = google_cloud_run_v2_service.runner.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.caller.member
}

resource "google_cloud_run_v2_job_iam_member" "dispatcher_starts" {
  for_each = google_cloud_run_v2_job.runner
  name     = each.value.name
  location = var.region
  role     = "roles/run.jobsExecutorWithOverrides"
  member   = google_service_account.dispatcher.member
}

# to look at an execution and to stop it, and nothing else: no predefined role has just that
resource "google_project_iam_custom_role" "execution_keeper" {
  role_id     = "pullwrightExecutionKeeper"
  title       = "Pullwright: executions of runner jobs"
  permissions = ["run.executions.cancel", "run.executions.get", "run.executions.list", "run.jobs.get"]
}

resource "google_cloud_run_v2_job_iam_member" "dispatcher_keeps" {
  for_each = google_cloud_run_v2_job.runner
  name     = each.value.name
  location = var.region
  role     = google_project_iam_custom_role.execution_keeper.id
  member   = google_service_account.dispatcher.member
}
