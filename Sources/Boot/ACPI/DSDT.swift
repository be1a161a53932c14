// SPDX-License-Identifier: Apache-2.0

/// The differentiated system description table: the machine's devices, in AML.
enum DSDT {
  static func bytes(_ platform: Platform) -> [UInt8] {
    let system = AML.scope(
      "_SB",
      (0..<platform.cpus).map(processor) + [
        hostBridge(platform), motherboard, powerButton, eventDevice,
      ] + platform.devices.map(device))
    return ACPI.table("DSDT", revision: 2, body: system + softOff)
  }

  /// S5 (ACPI 6.5 §7.4.2.6): the SLP_TYP value for the sleep control register.
  private static let softOff = AML.name(
    "_S5", AML.package([UInt64(PlatformLayout.sleepTypeS5), 0, 0, 0].map(AML.integer)))

  /// A processor device. Its UID matches its entry in the MADT.
  private static func processor(_ index: Int) -> AML.Term {
    let number = String(index, radix: 16, uppercase: true)
    let name = "C" + String(repeating: "0", count: 3 - number.count) + number
    return AML.device(
      name, [AML.name("_HID", AML.string("ACPI0007")), AML.name("_UID", AML.integer(UInt64(index)))])
  }

  /// The PCI Express root complex.
  private static func hostBridge(_ platform: Platform) -> AML.Term {
    var resources = [
      AML.busNumbers(0...platform.lastBus),
      AML.ports(PlatformLayout.configAddress, count: 8),
      AML.portWindow(0...PlatformLayout.configAddress - 1),
      AML.portWindow(PlatformLayout.configAddress + 8...0xFFFF),
      AML.memoryWindow32(PlatformLayout.pciWindow32),
    ]
    if !platform.pciWindow64.isEmpty { resources.append(AML.memoryWindow64(platform.pciWindow64)) }
    // Without ports there is nothing to control, and the guest starts faster.
    let control = platform.lastBus > 0 ? [portControl] : []
    return AML.device(
      "PCI0",
      control + [
        AML.name("_HID", AML.eisaID("PNP0A08")),
        AML.name("_CID", AML.eisaID("PNP0A03")),
        AML.name("_UID", AML.integer(0)),
        AML.name("_SEG", AML.integer(0)),
        AML.name("_BBN", AML.integer(0)),
        AML.name("_CRS", AML.resources(resources)),
        AML.name("_PRT", AML.package(interruptRoutes)),
      ])
  }

  /// `_OSC` (PCI Firmware 3.3 §4.5.1). It grants hot plug, PME, AER and the PCI Express capability, bits 0, 2, 3 and 4
  /// of the third double word, and clears the other bits that the guest requests. Bits 2 to 4 of the first one report an
  /// unknown UUID, an unknown revision, and cleared bits.
  private static let portControl: AML.Term = {
    let (status, control) = (AML.nameString("STAT"), AML.nameString("CTRL"))
    let (uuid, revision, capabilities) = (AML.argument(0), AML.argument(1), AML.argument(3))
    let rootBridge: [UInt8] = [
      0x5B, 0x4D, 0xDB, 0x33, 0xF7, 0x1F, 0x1C, 0x40, 0x96, 0x57, 0x74, 0x41, 0xC0, 0x3D, 0xD7, 0x66,
    ]
    func report(_ bit: UInt64) -> AML.Term { AML.or(status, AML.integer(1 << bit), into: status) }
    return AML.method(
      "_OSC", arguments: 4,
      [
        AML.doubleWordField("STAT", of: capabilities, at: 0),
        AML.when(
          AML.equal(uuid, AML.buffer(rootBridge)),
          [
            AML.doubleWordField("CTRL", of: capabilities, at: 8),
            AML.and(control, AML.integer(0x1D), into: AML.local(0)),
            AML.when(AML.not(AML.equal(AML.local(0), control)), [report(4)]),
            AML.when(AML.not(AML.equal(revision, AML.integer(1))), [report(3)]),
            AML.store(AML.local(0), into: control),
          ], otherwise: [report(2)]),
        AML.result(capabilities),
      ], isSerialized: true)
  }()

  /// `_PRT` (ACPI 6.5 §6.2.13): the GSI of every INTx pin of every PCI slot, used or not.
  private static var interruptRoutes: [AML.Term] {
    (UInt8(0)..<32).flatMap { slot in
      (UInt8(0)..<4).map { pin in
        let gsi = PlatformLayout.gsi(slot: slot, pin: pin)
        return AML.package(
          [UInt64(slot) << 16 | 0xFFFF, UInt64(pin), 0, UInt64(gsi)].map(AML.integer))
      }
    }
  }

  /// The resources that belong to no other device: ECAM and the sleep registers. PCI Firmware 3.3 §4.1.2
  /// requires this reservation of ECAM.
  private static let motherboard = AML.device(
    "MBRD",
    [
      AML.name("_HID", AML.eisaID("PNP0C02")),
      AML.name("_UID", AML.integer(0)),
      AML.name(
        "_CRS",
        AML.resources([
          AML.memory32Fixed(PlatformLayout.ecam), AML.ports(PlatformLayout.sleepControl, count: 2),
        ])),
    ])

  /// The power button (ACPI 6.5 §4.8.2.2.1.2). Hardware-reduced ACPI has no fixed one.
  private static let powerButton = AML.device(
    "PWRB", [AML.name("_HID", AML.eisaID("PNP0C0C")), AML.name("_UID", AML.integer(0))])

  /// The generic event device (ACPI 6.5 §5.6.9). Its only interrupt reports that the button is pressed.
  private static let eventDevice = AML.device(
    "GED0",
    [
      AML.name("_HID", AML.string("ACPI0013")), AML.name("_UID", AML.integer(0)),
      AML.name("_CRS", AML.resources([AML.edgeInterrupt(PlatformLayout.powerButtonGSI)])),
      AML.method("_EVT", arguments: 1, [AML.notify("PWRB", pressed)]),
    ])

  /// The notification of a pressed power button (ACPI 6.5 table 5.163).
  private static let pressed: UInt64 = 0x80

  private static func device(_ device: PlatformDevice) -> AML.Term {
    let isEISA = device.identity.hasPrefix("PNP")
    var terms = [
      AML.name("_HID", isEISA ? AML.eisaID(device.identity) : AML.string(device.identity))
    ]
    if let number = device.number { terms.append(AML.name("_UID", AML.integer(number))) }
    var resources = [AML.ports(device.ports.lowerBound, count: UInt8(device.ports.count))]
    if let gsi = device.gsi { resources.append(AML.edgeInterrupt(gsi)) }
    terms.append(AML.name("_CRS", AML.resources(resources)))
    return AML.device(device.name, terms)
  }
}
