// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for the messages with which Sluice refuses a request.
enum BadInputCases {
  static let all: [Case] = [
    Case("bad-kernel", "invalid kernel and initrd files are refused") { context in
      // The large file is sparse. A copy outside L1 would contain all its zeroes.
      defer { try? FileManager.default.removeItem(at: context.file("large")) }
      return try BadInput.check(try files(context), context)
    },
    Case("bad-memory", "memory sizes, nodes, huge pages and processors that L1 lacks are refused") {
      context in
      let kernel = try context.kernel(.newCloud).image
      return try BadInput.check(
        [
          BadInput(
            label: "memory 0", arguments: ["run", "--kernel", kernel, "--memory", "0"], statuses: [2],
            words: ["memory"]),
          BadInput(
            label: "memory 3T", arguments: ["run", "--kernel", kernel, "--memory", "3T"],
            words: ["memory", "3"]),
          BadInput(
            label: "no such node", arguments: ["run", "--kernel", kernel, "--memory", "64M,node=9"],
            words: ["numa node", "node="]),
          BadInput(
            label: "no huge pages", arguments: ["run", "--kernel", kernel, "--memory", "64M,hugepages=2M"],
            words: ["32 huge pages of 2048k", "nr_hugepages"]),
          BadInput(
            label: "no such processor", arguments: ["run", "--kernel", kernel, "--cpu-pin", "0:99"],
            words: ["--cpu-pin 0:99", "cpus_allowed_list"]),
        ], context)
    },
    Case("bad-device", "devices that cannot be passed through are refused") { context in try devices(context)
    },
    Case("bad-host", "an absent /dev/kvm or /dev/vfio/vfio and a forbidden /dev/kvm are reported") {
      context in
      try BadInput.check(try host(context), context)
    },
    Case("trace-disk-full", "--trace to a full disk is an error") { context in
      let kernel = try context.kernel(.newCloud)
      let arguments = [
        "run", "--kernel", kernel.image, "--initrd", kernel.initramfs, "--append", "console=ttyS0 quiet",
        "--trace", "/dev/full", "--device", Address.bigDrive,
      ]
      let input = BadInput(
        label: "trace /dev/full", arguments: arguments, words: ["/dev/full", "no space left"])
      let remark = try BadInput.check([input], context)
      try HostDevice(Address.bigDrive).requireReleased()
      return remark
    },
  ]

  private static func files(_ context: CaseContext) throws -> [BadInput] {
    let kernel = try context.kernel(.newCloud)
    let empty = context.file("empty")
    try Data().write(to: empty)
    let truncated = context.file("truncated")
    try Data(Data(contentsOf: URL(filePath: kernel.image)).prefix(300_000)).write(to: truncated)
    let none = context.file("no-kernel")
    try Data(repeating: 0x5a, count: 1 << 20).write(to: none)
    // The file is sparse. It takes no memory in L1, and its size exceeds guest RAM.
    let large = context.file("large")
    try Data().write(to: large)
    let handle = try FileHandle(forWritingTo: large)
    try handle.truncate(atOffset: 200 << 20)
    try handle.close()
    func run(_ file: URL) -> [String] { ["run", "--kernel", file.path] }
    return [
      BadInput(
        label: "kernel missing", arguments: run(context.file("nowhere")), words: ["nowhere", "no such file"]),
      BadInput(
        label: "kernel is a directory", arguments: run(context.directory), words: [context.directory.path]),
      BadInput(label: "kernel empty", arguments: run(empty), words: [empty.path]),
      BadInput(label: "kernel truncated", arguments: run(truncated), words: [truncated.path, "truncated"]),
      BadInput(label: "not a kernel", arguments: run(none), words: [none.path]),
      BadInput(
        label: "initrd missing",
        arguments: ["run", "--kernel", kernel.image, "--initrd", context.file("nowhere").path],
        words: ["nowhere", "no such file"]),
      BadInput(
        label: "initrd too large",
        arguments: ["run", "--kernel", kernel.image, "--initrd", large.path, "--memory", "128M"],
        words: ["initrd", "memory"]),
    ]
  }

  private static func devices(_ context: CaseContext) throws -> String {
    guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
    let kernel = try context.kernel(.newCloud).image
    let token = "2ab74924-c335-45f4-9b16-8569e5b08258"
    func run(_ devices: String...) -> [String] {
      ["run", "--kernel", kernel] + devices.flatMap { ["--device", $0] }
    }
    // The bridge has an edu device for the guest and a network card that stays bound to its host driver.
    let shared = try HostDevice.behind(bridge: Address.bridge)
    guard let edu = shared.first(where: { $0.deviceID == "0x11e8" }),
      let card = shared.first(where: { $0.driver == "e1000" })
    else { throw Failed("L1 does not have edu and e1000 behind its bridge") }
    try context.require(edu.group == card.group, "edu and e1000 behind the bridge do not share a group")
    try edu.bind(to: "vfio-pci")
    let small = HostDevice(Address.smallDrive)
    try small.bind(to: "nvme")
    defer { try? small.bind(to: "vfio-pci") }  // the next case with the drive reports a failure
    return try BadInput.check(
      [
        BadInput(label: "no such device", arguments: run("0000:00:1e.7"), words: ["0000:00:1e.7"]),
        BadInput(
          label: "not an address", arguments: run("drive"), statuses: [2], words: ["drive", "address"]),
        BadInput(
          label: "bound to nvme", arguments: run(small.address),
          words: [small.address, "nvme", "sluice bind \(small.address)"]),
        BadInput(
          label: "shared group", arguments: run(edu.address), words: [edu.address, "group", card.address]),
        BadInput(
          label: "named twice", arguments: run(Address.bigDrive, Address.bigDrive), statuses: [1, 2],
          words: [Address.bigDrive, "twice"]),
        // The physical function is bound to nvme, and the drive has no physical function. Both need no token.
        BadInput(
          label: "unneeded token", arguments: run("\(Address.virtualFunction),vf-token=\(token)"),
          words: [Address.virtualFunction, "leave vf-token= out"]),
        BadInput(
          label: "token without a physical function", arguments: run("\(Address.bigDrive),vf-token=\(token)"),
          words: [Address.bigDrive, "leave vf-token= out"]),
      ], context)
  }

  private static func host(_ context: CaseContext) throws -> [BadInput] {
    let kernel = try context.kernel(.newCloud).image
    // Every user can read this directory. The source tree may be in a directory that only root can read.
    let open = URL(filePath: "/run/lab-open")
    try open.removeIfPresent()
    try open.makeDirectory()
    for (source, name) in [(context.manifest.sluice, "sluice"), (kernel, "vmlinuz")] {
      try FileManager.default.copyItem(
        at: URL(filePath: source).resolvingSymlinksInPath(), to: open.appending(path: name))
    }
    let nobody = [
      "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "-C", open.path,
      "sh", "-c", "shift; exec ./sluice \"$@\"", "sh",
    ]
    return [
      BadInput(
        label: "no kvm", wrapper: without("kvm"), arguments: ["run", "--kernel", kernel],
        words: ["/dev/kvm", "no such file"]),
      BadInput(
        label: "no vfio", wrapper: without("vfio/vfio"),
        arguments: ["run", "--kernel", kernel, "--device", Address.bigDrive],
        words: ["/dev/vfio/vfio", "no such file"]),
      BadInput(
        label: "kvm forbidden", wrapper: nobody, arguments: ["run", "--kernel", "vmlinuz"],
        words: ["/dev/kvm", "permission denied"]),
    ]
  }

  /// Returns a wrapper that executes the rest in a mount namespace without one device node.
  private static func without(_ node: String) -> [String] {
    let script = """
      set -e
      mkdir -p /run/lab-dev
      mount -t tmpfs dev /run/lab-dev
      for node in null zero random urandom kvm vfio; do cp -a /dev/$node /run/lab-dev/; done
      rm /run/lab-dev/$0
      mount --bind /run/lab-dev /dev
      exec "$@"
      """
    return ["unshare", "--mount", "sh", "-c", script, node]
  }
}
