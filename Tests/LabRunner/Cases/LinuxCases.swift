// SPDX-License-Identifier: Apache-2.0

/// Debian guests that use their passed-through devices.
enum LinuxCases {
  static let all: [Case] =
    [KernelName.newCloud, .oldCloud].map(drive) + [KernelName.newFull, .oldFull].flatMap(others)

  private static func drive(_ kernel: KernelName) -> Case {
    Case(
      "nvme-\(kernel.rawValue)", "the guest reads its whole drive; no BAR is mapped before its first access"
    ) {
      bench in
      let guest = LinuxGuest(kernel: kernel, devices: [Address.bigDrive], steps: ["nvme-sha256"])
      let lines = try guest.run(bench)
      return try describe(lines, bench)
    }
  }

  private static func others(_ kernel: KernelName) -> [Case] {
    [
      Case(
        "e1000e-\(kernel.rawValue)", "the guest pings and downloads through its network card",
        isLong: kernel == .oldFull
      ) { bench in
        let lines = try LinuxGuest(kernel: kernel, devices: [Address.network], steps: ["network"]).run(bench)
        try checkNetwork(lines, bench)
        return try describe(lines, bench)
      },
      // With the old kernel, `four-devices` in `test` already covers these two devices.
      Case(
        "xhci-\(kernel.rawValue)", "the guest reads the USB stick on its controller",
        isLong: kernel == .oldFull
      ) { bench in
        let lines = try LinuxGuest(kernel: kernel, devices: [Address.usb], steps: ["usb-sha256"]).run(bench)
        try checkStick(lines, bench)
        return try describe(lines, bench)
      },
      Case(
        "four-devices-\(kernel.rawValue)", "two drives, network and USB work in one guest with 4 vCPUs",
        limit: 180
      ) {
        bench in
        let lines = try LinuxGuest(
          kernel: kernel, devices: [Address.bigDrive, Address.smallDrive, Address.network, Address.usb],
          cpus: 4, memory: "1G", steps: ["nvme-sha256", "network", "usb-sha256"]
        ).run(bench)
        try checkNetwork(lines, bench)
        try checkStick(lines, bench)
        let first = lines.lines.first ?? ""
        try bench.require(first.hasSuffix("cpus 4"), "the guest printed '\(first)', expected 4 CPUs")
        return try describe(lines, bench)
      },
    ]
  }

  static func checkNetwork(_ lines: GuestLines, _ bench: CaseContext) throws {
    let pings = lines.values(of: "ping").count
    try bench.require(
      pings == 1, "\(pings) pings were answered, expected 1; the guest printed \(lines.lines.suffix(3))")
    let sums = lines.values(of: "download")
    let expected = [[bench.manifest.downloadSHA256]]
    try bench.require(sums == expected, "the guest downloaded \(sums), the file has \(expected)")
  }

  private static func checkStick(_ lines: GuestLines, _ bench: CaseContext) throws {
    let sums = lines.values(of: "usb-sha256")
    let expected = [[bench.manifest.sums[Address.usb] ?? "nothing"]]
    try bench.require(sums == expected, "the guest read \(sums), the stick has \(expected)")
  }

  /// Checks the trace under Sluice. Returns a remark with the guest's kernel and the number of windows that
  /// opened.
  static func describe(_ lines: GuestLines, _ bench: CaseContext) throws -> String {
    let guest = lines.lines.first.map { String($0.trimmingPrefix("init ")) } ?? ""
    guard bench.vmm == "sluice" else { return "\(guest), under \(bench.vmm)" }
    let trace = try Trace(file: bench.file("trace.jsonl"))
    let faults = trace.faultsOfStarting() + trace.faultsOfLaziness() + trace.faultsOfClosing()
    try bench.require(faults.isEmpty, faults.prefix(3).joined(separator: "; "))
    try bench.require(!trace.openedWindows.isEmpty, "the trace has no window that opened")
    return
      "\(guest); \(trace.openedWindows.count) windows opened, \(trace.clearingWrites) writes clear the memory bit"
  }
}
