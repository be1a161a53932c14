// SPDX-License-Identifier: Apache-2.0

/// Debian guests that use their passed-through devices.
enum LinuxCases {
  static let all: [Case] =
    [KernelName.newCloud, .oldCloud, .latestCloud].map(drive)
    + [KernelName.newFull, .oldFull].flatMap(others)

  private static func drive(_ kernel: KernelName) -> Case {
    Case(
      "nvme-\(kernel.rawValue)", "the guest reads its whole drive; no BAR is mapped before its first access",
      isLong: kernel.isOnDemand, guestKernels: [kernel]
    ) {
      context in
      let guest = LinuxGuest(kernel: kernel, devices: [Address.bigDrive], steps: ["nvme-sha256"])
      let lines = try guest.run(context)
      return try describe(lines, context)
    }
  }

  private static func others(_ kernel: KernelName) -> [Case] {
    [
      // In `test`, `four-devices-6.1` covers these two devices, and `port-eight` with the new kernel.
      Case(
        "e1000e-\(kernel.rawValue)", "the guest pings and downloads through its network card", isLong: true
      ) { context in
        let lines = try LinuxGuest(kernel: kernel, devices: [Address.network], steps: ["network"]).run(
          context)
        try checkNetwork(lines, context)
        return try describe(lines, context)
      },
      Case("xhci-\(kernel.rawValue)", "the guest reads the USB stick on its controller", isLong: true) {
        context in
        let lines = try LinuxGuest(kernel: kernel, devices: [Address.usb], steps: ["usb-sha256"]).run(context)
        try checkStick(lines, context)
        return try describe(lines, context)
      },
      Case(
        "four-devices-\(kernel.rawValue)", "two drives, network and USB work in one guest with 4 vCPUs",
        limit: 180, isLong: kernel == .newFull
      ) {
        context in
        let lines = try LinuxGuest(
          kernel: kernel, devices: [Address.bigDrive, Address.smallDrive, Address.network, Address.usb],
          cpus: 4, memory: "1G", steps: ["nvme-sha256", "network", "usb-sha256"]
        ).run(context)
        try checkNetwork(lines, context)
        try checkStick(lines, context)
        let first = lines.lines.first ?? ""
        try context.require(first.hasSuffix("cpus 4"), "the guest printed '\(first)', expected 4 CPUs")
        return try describe(lines, context)
      },
    ]
  }

  static func checkNetwork(_ lines: GuestLines, _ context: CaseContext) throws {
    let pings = lines.values(of: "ping").count
    try context.require(
      pings == 1, "\(pings) pings were answered, expected 1; the guest printed \(lines.lines.suffix(3))")
    let sums = lines.values(of: "download")
    let expected = [[context.manifest.downloadSHA256]]
    try context.require(sums == expected, "the guest downloaded \(sums), the file has \(expected)")
  }

  private static func checkStick(_ lines: GuestLines, _ context: CaseContext) throws {
    let sums = lines.values(of: "usb-sha256")
    let expected = [[context.manifest.sums[Address.usb] ?? "nothing"]]
    try context.require(sums == expected, "the guest read \(sums), the stick has \(expected)")
  }

  /// Checks the trace under Sluice. Returns a remark with the guest's kernel and the number of windows that
  /// opened.
  static func describe(_ lines: GuestLines, _ context: CaseContext) throws -> String {
    let guest = lines.lines.first.map { String($0.trimmingPrefix("init ")) } ?? ""
    guard context.vmm == "sluice" else { return "\(guest), under \(context.vmm)" }
    let trace = try Trace(file: context.file("trace.jsonl"))
    let faults = trace.violationsOfStarting() + trace.violationsOfLaziness() + trace.violationsOfClosing()
    try context.require(faults.isEmpty, faults.prefix(3).joined(separator: "; "))
    try context.require(!trace.openedWindows.isEmpty, "the trace has no window that opened")
    return
      "\(guest); \(trace.openedWindows.count) windows opened, \(trace.clearingWrites) writes clear the memory bit"
  }
}
