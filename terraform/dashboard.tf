# One page: what comes in, what waits, what runs, what it takes.

locals {
  tiles = [
    {
      title   = "Requests at the door, by answer"
      filter  = "${local.service_metric} \"${local.dispatcher}\" AND metric.type = \"run.googleapis.com/request_count\""
      aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", by = ["metric.label.response_code_class"]
    },
    {
      title   = "Time to answer, 95th percentile (ms)"
      filter  = "${local.service_metric} \"${local.dispatcher}\" AND metric.type = \"run.googleapis.com/request_latencies\""
      aligner = "ALIGN_PERCENTILE_95", reducer = "REDUCE_MAX", by = []
    },
    {
      title   = "Tasks waiting"
      filter  = "resource.type = \"cloud_tasks_queue\" AND metric.type = \"cloudtasks.googleapis.com/queue/depth\""
      aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = ["resource.label.queue_id"]
    },
    {
      title   = "Runner instances"
      filter  = "${local.service_metric} \"${local.runner}\" AND metric.type = \"run.googleapis.com/container/instance_count\""
      aligner = "ALIGN_MAX", reducer = "REDUCE_SUM", by = ["metric.label.state"]
    },
    {
      title   = "Job executions, by result"
      filter  = "resource.type = \"cloud_run_job\" AND metric.type = \"run.googleapis.com/job/completed_execution_count\""
      aligner = "ALIGN_SUM", reducer = "REDUCE_SUM", by = ["metric.label.result"]
    },
    {
      title   = "Memory of runners, 95th percentile"
      filter  = "${local.service_metric} \"${local.runner}\" AND metric.type = \"run.googleapis.com/container/memory/utilizations\""
      aligner = "ALIGN_PERCENTILE_95", reducer = "REDUCE_MAX", by = []
    },
    {
      title   = "Runs taken back from a lost runner"
      filter  = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.swept.name}\""
      aligner = "ALIGN_SUM", reducer = "REDUCE_SUM", by = []
    },
    {
      title   = "vCPU seconds billed, by service"
      filter  = "resource.type = \"cloud_run_revision\" AND metric.type = \"run.googleapis.com/container/cpu/allocation_time\""
      aligner = "ALIGN_SUM", reducer = "REDUCE_SUM", by = ["resource.label.service_name"]
    },
  ]
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = "Pullwright"
    mosaicLayout = {
      columns = 48
      tiles = [for number, tile in local.tiles : {
        xPos = number % 2 * 24, yPos = floor(number / 2) * 16, width = 24, height = 16
        widget = {
          title = tile.title
          xyChart = {
            dataSets = [{
              plotType = "LINE"
              timeSeriesQuery = { timeSeriesFilter = {
                filter = tile.filter
                aggregation = {
                  alignmentPeriod    = "60s"
                  perSeriesAligner   = tile.aligner
                  crossSeriesReducer = tile.reducer
                  groupByFields      = tile.by
                }
              } }
            }]
          }
        }
      }]
    }
  })

  depends_on = [google_project_service.needed]
}
