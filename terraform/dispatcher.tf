# The control plane: the only identity that reads documents and secrets.

locals {
  dispatcher = "pullwright-dispatcher"
}

resource "google_service_account" "dispatcher" {
  account_id   = "pullwright-dispatcher"
  display_name = "Pullwright: control plane"
}

resource "google_cloud_run_v2_service" "dispatcher" {
  name                 = local.dispatcher
  location             = var.region
  labels               = local.labels
  deletion_protection  = var.deletion_protection
  ingress              = "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = var.public_by == "check_off"

  template {
    service_account                  = google_service_account.dispatcher.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN1" # starts faster, and nothing here needs a full Linux
    timeout                          = "3600s"                      # streams of events stay open; Cloud Run's own limit
    max_instance_request_concurrency = var.dispatcher.concurrency
    labels                           = local.labels

    scaling {
      min_instance_count = var.dispatcher.min_instances
      max_instance_count = var.dispatcher.max_instances
    }

    containers {
      image = var.images.dispatcher
      ports {
        container_port = 8080
      }
      resources {
        limits            = { cpu = tostring(var.dispatcher.cpu), memory = "${var.dispatcher.memory_mib}Mi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(var.settings, {
          ENVIRONMENT             = var.environment
          PLATFORM                = "google"
          GOOGLE_CLOUD_PROJECT    = var.project_id
          GOOGLE_CLOUD_REGION     = var.region
          PUBLIC_URL              = local.dispatcher_url
          CLAUDE_CLOUD_RUN_URL    = local.runner_url
          RUNNER_AUDIENCE         = local.runner_url
          INVOKER_SERVICE_ACCOUNT = google_service_account.caller.email
          FIRESTORE_DATABASE      = google_firestore_database.this.name
          ARTIFACT_BUCKET         = google_storage_bucket.artifacts.name
          MAX_CONCURRENT_RUNS     = tostring(var.max_concurrent_runs)
          RUNNER_CLASSES          = join(",", keys(var.resource_classes))
          RUNS_QUEUE              = google_cloud_tasks_queue.this["runs"].name
          RUNNER_JOB              = local.runner
          RUNNER_CLASS            = var.service_class
          MAX_CONCURRENT_RUNS     = tostring(var.max_concurrent_runs)
          INTERNAL_QUEUE          = google_cloud_tasks_queue.this["internal"].name
        })
        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        tcp_socket {
          port = 8080
        }
        period_seconds    = 1
        failure_threshold = 60
      }
    }
  }

  lifecycle {
    # cloudbuild.yaml deploys images and moves traffic; Terraform owns everything else
    ignore_changes = [client, client_version, template[0].containers[0].image, template[0].revision, traffic]
  }

  depends_on = [google_project_service.needed, google_project_iam_member.dispatcher_documents]
}

resource "google_cloud_run_v2_service_iam_member" "public" {
  count    = var.public_by == "all_users" ? 1 : 0
  name     = google_cloud_run_v2_service.dispatcher.name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_service_iam_member" "caller_calls_dispatcher" {
  name     = google_cloud_run_v2_service.dispatcher.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.caller.member
}
